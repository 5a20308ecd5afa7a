//! Texts that people see: characters that do not show, or that change how others show; and names, how they are kept, compared and
//! looked for. By RFC 8266 (PRECIS nicknames) and UTS 39 (what looks alike). Which characters a name may have follows the PRECIS
//! class of free form, in the words of a newer Unicode and with emoji that are put together, which the class does not know.

use precis_profiles::precis_core::context::{rule_zero_width_joiner, rule_zero_width_nonjoiner};
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};
use unicode_security::skeleton;

/// Words of a name by which it is found.
const WORDS: usize = 8;
/// Folding comes to rest after so many rounds at most (RFC 8264 §7).
const ROUNDS: usize = 4;
/// Marks that one letter has, at most: more are towers that cover the lines above. Burmese has five.
const MARKS: usize = 8;

/// Marks that turn the direction of the text around them (property `Bidi_Control`), with which `gpj.exe` is made to look like
/// `exe.jpg`.
#[must_use]
pub const fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Characters that show nothing by themselves, white space and control characters apart: those that a font ignores (property
/// `Default_Ignorable_Code_Point`), other format characters without a glyph, and the Braille pattern without dots.
#[must_use]
pub const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}')
        || matches!(c, '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}')
        || matches!(c, '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}')
        || matches!(c, '\u{1d159}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether anything of a text can be seen.
#[must_use]
pub fn shows(text: &str) -> bool {
    text.chars().any(|c| !c.is_whitespace() && !c.is_control() && !is_invisible(c))
}

/// Whether a text can be the name of somebody or something: some of it shows, and it is one [line](is_line).
#[must_use]
pub fn is_name(text: &str) -> bool {
    shows(text) && is_line(text)
}

/// Whether a text is one line that shows as what it is: what does not show is needed where it stands, nothing changes what
/// stands around it, all characters are assigned, and marks stand on letters.
#[must_use]
pub fn is_line(text: &str) -> bool {
    let is_plain = |c: char| is_invisible(c) || is_picture(c) || is_assigned(c);
    text.chars().all(is_plain)
        && marks_stand_on_letters(text)
        && without_tricks(text).count() == text.chars().count()
}

/// Whether others will see what the writer meant: no control characters, nothing for private use, nothing that is not assigned yet
/// (RFC 8264 §9.12 to §9.14).
fn is_assigned(c: char) -> bool {
    !matches!(
        c.general_category(),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
            | GeneralCategory::PrivateUse
            | GeneralCategory::Surrogate
            | GeneralCategory::Unassigned
    )
}

fn marks_stand_on_letters(text: &str) -> bool {
    let mut room = 0_usize;
    text.nfd().filter(|c| !is_invisible(*c)).all(|c| {
        if is_combining_mark(c) {
            let stands = room > 0;
            room = room.saturating_sub(1);
            stands
        } else {
            room = if c.is_whitespace() { 0 } else { MARKS };
            true
        }
    })
}

/// The characters of a text, but for marks that turn its direction and characters that do not show and are not needed where they
/// stand.
pub fn without_tricks(text: &str) -> impl Iterator<Item = char> {
    let chars: Vec<char> = text.chars().collect();
    let keep =
        move |at: usize| (!is_invisible(chars[at]) || is_needed(text, &chars, at)).then_some(chars[at]);
    (0..text.chars().count()).filter_map(keep)
}

/// Whether a character that does not show changes how those beside it show, as scripts and emoji need it.
fn is_needed(text: &str, chars: &[char], at: usize) -> bool {
    let before = at.checked_sub(1).map(|at| chars[at]);
    let after = chars.get(at + 1).copied();
    match chars[at] {
        // RFC 5892, appendix A.1 and A.2.
        '\u{200c}' => rule_zero_width_nonjoiner(text, at) == Ok(true),
        '\u{200d}' => {
            let between_pictures =
                before.is_some_and(|c| is_picture(c) || c == '\u{fe0f}') && after.is_some_and(is_picture);
            between_pictures || rule_zero_width_joiner(text, at) == Ok(true)
        }
        // As a text or as a picture: emoji, and digits of which `U+20E3` makes keys.
        '\u{fe0e}' | '\u{fe0f}' => {
            before.is_some_and(|c| is_picture(c) || after == Some('\u{20e3}') && c.is_ascii())
        }
        // Forms of ideographs, in which names of people differ.
        '\u{fe00}'..='\u{fe02}' | '\u{e0100}'..='\u{e01ef}' => before.is_some_and(is_ideograph),
        // Forms of Mongolian letters.
        '\u{180b}'..='\u{180d}' | '\u{180f}' => before.is_some_and(|c| matches!(c, '\u{1820}'..='\u{18aa}')),
        // Flags of parts of countries.
        '\u{e0020}'..='\u{e007f}' => {
            before.is_some_and(|c| matches!(c, '\u{1f3f4}' | '\u{e0020}'..='\u{e007e}'))
        }
        _ => false,
    }
}

/// About what emoji are made of.
const fn is_picture(c: char) -> bool {
    matches!(
        c,
        '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2100}'..='\u{2bff}' | '\u{3030}' | '\u{303d}'
    ) || matches!(c, '\u{3297}' | '\u{3299}' | '\u{1f000}'..='\u{1faff}')
}

const fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// A name as it is kept: composed (NFC), with single spaces between its words and none around them.
#[must_use]
pub fn tidy(name: &str) -> String {
    single_spaces(&name.nfc().collect::<String>())
}

/// A name as names are compared and looked for, by the rules of RFC 8266 §2.4: spaces, case, NFKC, until nothing changes. What
/// does not show makes no difference.
#[must_use]
pub fn fold(name: &str) -> String {
    let shown: String = name.chars().filter(|c| !is_invisible(*c)).collect();
    let round = |text: &str| single_spaces(&text.to_lowercase().nfkc().collect::<String>());
    let mut folded = round(&shown);
    for _ in 1..ROUNDS {
        let again = round(&folded);
        if again == folded {
            break;
        }
        folded = again;
    }
    folded
}

/// A name as it looks: what no two names in one place may have in common. The skeleton of UTS 39 §4 of its folded form, but for
/// `m`, which it takes apart.
#[must_use]
pub fn look(name: &str) -> String {
    let skeleton: String = skeleton(&fold(name)).collect();
    fold(&skeleton).replace("rn", "m")
}

fn single_spaces(text: &str) -> String {
    // Control characters are no spaces: names with one are refused.
    let words = text.split(|c: char| c.is_whitespace() && !c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// The ends of a folded name that begin with one of its words: what is looked for is the beginning of one of them.
pub fn from_each_word(folded: &str) -> impl Iterator<Item = &str> {
    let mut before = None;
    let begins = folded.char_indices().filter_map(move |(at, c)| {
        let begins = before.is_none_or(|before: char| !before.is_alphanumeric() && c.is_alphanumeric());
        before = Some(c);
        begins.then_some(at)
    });
    begins.take(WORDS).map(|at| &folded[at..])
}

/// Whether a folded name, or a word of it, begins with something that is folded as well.
#[must_use]
pub fn has_beginning(folded: &str, sought: &str) -> bool {
    from_each_word(folded).any(|end| end.starts_with(sought))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_shows_and_changes_nothing_around_it() {
        for good in [
            "Ada",
            "Ada L.",
            "Zoë",
            "Zoe\u{308}",
            "עדה",
            "آدا",
            "می\u{200c}خواهم",
            "क्\u{200d}ष",
            "👩\u{200d}🚀",
            "👩🏽\u{200d}❤\u{fe0f}\u{200d}💋\u{200d}👨🏿",
            "❤\u{fe0f} tea",
            "1\u{fe0f}\u{20e3}",
            "🏴\u{e0067}\u{e0062}\u{e007f}",
            "葛\u{e0100}城",
            "ᠠ\u{180b}",
            "日本",
            "⠓⠊",
        ] {
            assert!(is_name(good), "{good:?}");
        }
        for c in
            ['\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}', '\n', '\0']
        {
            assert!(!is_name(&format!("Ada{c}gpj")), "{c:?}");
        }
        for nothing in ["", " ", "\u{ad}", "\u{200b} \u{fe0f}", "\u{3164}", "\u{2800}\u{2800}", "\u{e0041}"] {
            assert!(!is_name(nothing) && !shows(nothing), "{nothing:?}");
        }
        for c in [
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{2060}',
            '\u{feff}',
            '\u{ad}',
            '\u{2800}',
            '\u{fe0f}',
            '\u{e0041}',
        ] {
            for deceives in [format!("Ada{c}"), format!("{c}Ada"), format!("A{c}da"), format!("Ada {c}")] {
                assert!(!is_name(&deceives), "{deceives:?}");
            }
        }
    }

    #[test]
    fn names_that_look_alike_fold_alike() {
        for (one, other) in [
            ("caf\u{e9}", "cafe\u{301}"),
            ("Ａｄａ", "ada"),
            ("Ada \u{a0} Lovelace ", "ada lovelace"),
            ("ada\u{200b}", "ADA"),
            ("❤\u{fe0f}", "❤"),
            ("Straße", "straße"),
            ("ﬁsh", "FISH"),
        ] {
            assert_eq!(fold(one), fold(other), "{one:?} {other:?}");
        }
        assert_ne!(fold("zoë"), fold("zoe"));
        for name in ["İstanbul", "ΑΣ", "\u{1e9b}\u{323}", "K", "ǅ"] {
            assert_eq!(fold(&fold(name)), fold(name), "{name:?}");
        }
        assert_eq!(tidy("  Cafe\u{301} \u{3000} Ａ  "), "Caf\u{e9} Ａ");
        assert_eq!(tidy("a\tb"), "a\tb", "which is refused");
    }

    #[test]
    fn names_that_only_look_alike_have_one_look() {
        for (one, other) in [
            ("general", "g\u{435}neral"),
            ("team", "t\u{435}\u{430}m"),
            ("alice", "a1ice"),
            ("bob", "b0b"),
            ("mark", "rnark"),
            ("Caf\u{e9}", "cafe\u{301}"),
            ("paypal", "\u{440}\u{430}\u{443}\u{440}\u{430}l"),
        ] {
            assert_eq!(look(one), look(other), "{one:?} {other:?}");
        }
        for name in ["general", "random", "ada", "build-2", "release.3"] {
            assert_eq!(look(name), name, "what looks like itself stays");
        }
        for (one, other) in
            [("general", "generals"), ("zoë", "zoe"), ("mail", "mall"), ("\u{434}\u{430}", "da")]
        {
            assert_ne!(look(one), look(other), "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_line_shows_as_what_it_is() {
        for good in
            ["", "Ada's notes: 50 % (draft)", "မြွှို", "שָׁלוֹם", "नमस्ते", "ว่า", "e\u{301}\u{302}", "\u{1fae9}"]
        {
            assert!(is_line(good), "{good:?}");
        }
        for bad in [
            "\u{e000}",
            "\u{f0000}",
            "\u{378}",
            "\u{fdd0}",
            "\u{ffff}",
            "\u{600}",
            "\u{1d159}",
            "\u{301}a",
            "a \u{301}",
            "a\u{2028}b",
            "a\nb",
            "a\u{202e}b",
            "a\u{200b}b",
            &format!("a{}", "\u{301}".repeat(9)),
        ] {
            assert!(!is_line(bad) && !is_name(&format!("a{bad}")) || bad == "\u{301}a", "{bad:?}");
        }
    }

    #[test]
    fn a_name_is_found_by_the_beginning_of_each_word() {
        let words = |name| from_each_word(name).collect::<Vec<_>>();
        assert_eq!(words("ada lovelace-king"), ["ada lovelace-king", "lovelace-king", "king"]);
        assert_eq!(words("(ada) o'neill"), ["(ada) o'neill", "ada) o'neill", "o'neill", "neill"]);
        assert_eq!(words(""), Vec::<&str>::new());
        assert_eq!(words("a b c d e f g h i j").len(), WORDS);
        assert!(has_beginning("ada lovelace", "love") && has_beginning("ada lovelace", "ada l"));
        assert!(!has_beginning("ada lovelace", "ovel"));
    }
}
