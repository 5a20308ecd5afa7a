//! Texts that people see: characters that do not show, or that change how others show; and names, how they are kept, compared and
//! looked for. By RFC 8266 (PRECIS nicknames) and UTS 39 (what looks alike). Which characters a name may have follows the PRECIS
//! class of free form, by a newer Unicode and with emoji that are put together, which the class does not know.

use precis_profiles::precis_core::context::{rule_zero_width_joiner, rule_zero_width_nonjoiner};
use unicode_normalization::{
    UnicodeNormalization as _,
    char::{canonical_combining_class, is_combining_mark},
};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};
use unicode_security::skeleton;

/// Words of a name by which it is found.
const WORDS: usize = 8;
/// How one mark is typed.
const APOSTROPHES: [char; 6] = ['\u{2019}', '\u{2018}', '\u{2bc}', '\u{2bb}', '\u{b4}', '`'];
/// Folding comes to rest after so many rounds at most (RFC 8264 §7).
const ROUNDS: usize = 4;
/// Marks that one letter has, at most: more are towers that cover the lines above. Burmese has five.
const MARKS: usize = 8;
/// Turns what stands before it into a key, and is no mark of a letter.
pub(crate) const KEY: char = '\u{20e3}';

/// Marks that turn the direction of the text around them (property `Bidi_Control`), with which `gpj.exe` is made to look like
/// `exe.jpg`.
#[must_use]
pub const fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Characters that show nothing by themselves, white space and control characters apart: those that a font ignores (property
/// `Default_Ignorable_Code_Point`), other format characters without a glyph, the Braille pattern without dots, and the blanks
/// between hieroglyphs.
#[must_use]
pub const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}')
        || matches!(c, '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}')
        || matches!(c, '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}')
        || matches!(c, '\u{13441}' | '\u{13442}' | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}')
        || matches!(c, '\u{e0000}'..='\u{e0fff}')
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
        && keys_are_whole(text)
        && without_tricks(text).count() == text.chars().count()
}

/// Whether others will see what the writer meant: no control characters, nothing for private use, nothing that is not assigned yet
/// (RFC 8264 §9.12 to §9.14).
pub(crate) fn is_assigned(c: char) -> bool {
    // Stand for what is not there.
    let stands_in = matches!(c, '\u{fffc}' | '\u{fffd}');
    !stands_in
        && !matches!(
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
    text.nfd().filter(|c| !is_invisible(*c) && *c != KEY).all(|c| {
        if is_combining_mark(c) {
            let stands = room > 0;
            room = room.saturating_sub(1);
            stands
        } else {
            room = if c.is_alphanumeric() { MARKS } else { 0 };
            true
        }
    })
}

/// Whether each [`KEY`] stands behind what is on a key (UTS 51, ED-14c).
fn keys_are_whole(text: &str) -> bool {
    text.match_indices(KEY).all(|(at, _)| {
        let before = text[..at].trim_end_matches('\u{fe0f}');
        before.ends_with(is_on_key)
    })
}

const fn is_on_key(c: char) -> bool {
    matches!(c, '0'..='9' | '#' | '*')
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
        // And behind an Arabic letter that joins nothing anyway, or ends its word, where people type one.
        '\u{200c}' => {
            let ends = after.is_none_or(|c| is_arabic(c) || c.is_whitespace());
            rule_zero_width_nonjoiner(text, at) == Ok(true) || before.is_some_and(is_arabic) && ends
        }
        // Where words end that are written without spaces between them.
        '\u{200b}' => before.is_some_and(has_no_spaces) && after.is_some_and(has_no_spaces),
        '\u{200d}' => {
            let between_pictures =
                before.is_some_and(|c| is_picture(c) || c == '\u{fe0f}') && after.is_some_and(is_picture);
            // Before the virama: a letter that keeps its form (Unicode 16 §12.2, for Bengali, and after it).
            let keeps_form =
                before.is_some_and(is_indic) && after.is_some_and(|c| is_indic(c) && is_virama(c));
            // Behind an Arabic letter: it has its form within a word, as in abbreviations.
            let joins = before.is_some_and(is_arabic);
            between_pictures || keeps_form || joins || rule_zero_width_joiner(text, at) == Ok(true)
        }
        // As a text or as a picture: emoji, and digits of which `U+20E3` makes keys.
        '\u{fe0e}' | '\u{fe0f}' => {
            before.is_some_and(|c| is_picture(c) || after == Some(KEY) && is_on_key(c))
        }
        // Forms of ideographs, in which names of people differ.
        '\u{fe00}'..='\u{fe02}' | '\u{e0100}'..='\u{e01ef}' => before.is_some_and(is_ideograph),
        // Forms of Mongolian letters.
        '\u{180b}'..='\u{180d}' | '\u{180f}' => before.is_some_and(is_mongolian),
        // Sets a last vowel apart.
        '\u{180e}' => before.is_some_and(is_mongolian) && after.is_some_and(is_mongolian),
        '\u{e0020}'..='\u{e007f}' => is_in_flag(chars, at),
        _ => false,
    }
}

/// Whether it is one of the tags between a black flag and the last tag that name a part of a country.
fn is_in_flag(chars: &[char], at: usize) -> bool {
    let is_tag = |c: &char| matches!(c, '\u{e0020}'..='\u{e007e}');
    let begin = at - chars[..at].iter().rev().take_while(|c| is_tag(c)).count();
    let tags = chars[begin..].iter().take_while(|c| is_tag(c)).count();
    let is_flag = begin.checked_sub(1).is_some_and(|at| chars[at] == '\u{1f3f4}');
    is_flag
        && is_part_of_country(&chars[begin..begin + tags])
        && chars.get(begin + tags) == Some(&'\u{e007f}')
}

/// Whether tags name a part of a country as UTS 51 (ED-14a) has it: two letters for the country, and one to four letters or
/// digits (`gbsct`). Whether there is such a part, and a font with its flag, is not asked for.
pub(crate) fn is_part_of_country(tags: &[char]) -> bool {
    let is_letter = |tag: &char| matches!(tag, '\u{e0061}'..='\u{e007a}');
    let is_digit = |tag: &char| matches!(tag, '\u{e0030}'..='\u{e0039}');
    let Some((country, part)) = tags.split_at_checked(2) else { return false };
    country.iter().all(is_letter)
        && (1..=4).contains(&part.len())
        && part.iter().all(|tag| is_letter(tag) || is_digit(tag))
}

fn is_virama(c: char) -> bool {
    const VIRAMA: u8 = 9;
    canonical_combining_class(c) == VIRAMA
}

/// Scripts from Devanagari to Sinhala.
const fn is_indic(c: char) -> bool {
    matches!(c, '\u{900}'..='\u{dff}')
}

const fn is_arabic(c: char) -> bool {
    matches!(c, '\u{620}'..='\u{6ff}' | '\u{750}'..='\u{77f}' | '\u{8a0}'..='\u{8ff}')
}

/// Thai, Lao, Burmese, Khmer.
const fn has_no_spaces(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}')
}

const fn is_mongolian(c: char) -> bool {
    matches!(c, '\u{1820}'..='\u{18aa}')
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
/// does not show makes no difference. Nor does what people of some languages leave away or type in two ways: dots of Turkish i,
/// `ß` for `ss`, kinds of apostrophes.
#[must_use]
pub fn fold(name: &str) -> String {
    let round = |text: &str| {
        let lower =
            text.to_lowercase().nfkc().collect::<String>().replace("i\u{307}", "i").replace('ß', "ss");
        single_spaces(&lower.replace('ı', "i").replace(APOSTROPHES, "'"))
    };
    let mut folded = round(&shown(name));
    for _ in 1..ROUNDS {
        let again = round(&folded);
        if again == folded {
            break;
        }
        folded = again;
    }
    folded
}

/// What of a text shows. Spacing accents become what they look like: they would fall apart into spaces and marks.
fn shown(name: &str) -> String {
    name.chars()
        .filter(|c| !is_invisible(*c))
        .collect::<String>()
        .replace(APOSTROPHES, "'")
        .replace('\u{b8}', ",")
}

/// What people look for, folded as names are. Signs before it are left away, unless there is nothing else: words of names are
/// found without.
#[must_use]
pub fn fold_sought(sought: &str) -> String {
    let folded = fold(sought);
    let word = folded.trim_start_matches(|c: char| !c.is_alphanumeric());
    if word.is_empty() { folded } else { word.to_owned() }
}

/// A name as it looks in any case: what no two names in one place may have in common. The skeleton of UTS 39 §4, but for `m`, which
/// it takes apart. Of letters of other scripts counts how they look in lower case, or else in upper case, if that is like
/// ASCII; beside ASCII letters and digits, how they are written. `I` counts as `i`: else `mail` would be `mall`. That some fonts
/// show it as an `l` is what [`written_look`] is about.
#[must_use]
pub fn look(name: &str) -> String {
    let composed: String = shown(name).nfkc().collect();
    let words = composed.split_whitespace().map(|word| {
        let is_mixed = word.contains(|c: char| c.is_ascii_alphanumeric());
        word.nfd().map(|c| look_of(c, is_mixed)).collect::<String>()
    });
    fold(&words.collect::<Vec<_>>().join(" ")).replace("rn", "m")
}

/// A name as it looks as it is written: the skeleton of UTS 39 §4 of what of it shows, in which `generaI` is `general`, and
/// `General` is not. Names whose cases differ have little of it in common, so it stands beside [`look`].
#[must_use]
pub fn written_look(name: &str) -> String {
    skeleton(&single_spaces(&shown(name).nfkc().collect::<String>())).collect()
}

fn look_of(c: char, is_mixed: bool) -> String {
    let as_ascii = |c: String| {
        let look: String = skeleton(&c).collect();
        (look.is_ascii() && !look.is_empty()).then(|| look.to_lowercase())
    };
    let (lower, upper) = (c.to_lowercase().to_string(), c.to_uppercase().to_string());
    if c.is_ascii() {
        return as_ascii(lower.clone()).unwrap_or(lower);
    }
    // A capital I looks like an l, but no more counts as one than ASCII's does.
    let written = if is_mixed { as_ascii(c.to_string()).filter(|look| look != "l") } else { None };
    written
        .or_else(|| as_ascii(lower.clone()))
        .or_else(|| as_ascii(upper))
        .unwrap_or_else(|| skeleton(&lower).collect())
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
            "🏴",
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "🏴\u{e0075}\u{e0073}\u{e0074}\u{e0078}\u{e007f}",
            "🏴\u{e0063}\u{e0068}\u{e0031}\u{e007f}",
            "葛\u{e0100}城",
            "ᠠ\u{180b}",
            "日本",
            "⠓⠊",
            "#\u{fe0f}\u{20e3} one",
            "1\u{20e3}*\u{20e3}",
            "\u{9b0}\u{200d}\u{9cd}\u{9af}\u{9be}\u{99a}\u{9c7}\u{9b2}",
            "\u{cb0}\u{200d}\u{ccd}\u{caf}\u{cbe}",
            "\u{182a}\u{1823}\u{182f}\u{1823}\u{1837}\u{182e}\u{180e}\u{1820}",
            "\u{646}\u{647}\u{200c}\u{62e}\u{634}\u{647}\u{200c}",
            "\u{647}\u{200d}. \u{627}. \u{633}\u{627}\u{6cc}\u{647}",
            "\u{179f}\u{17bb}\u{1781}\u{200b}\u{1785}\u{17b6}",
            "\u{646}\u{648}\u{631}\u{200c}\u{627}\u{644}\u{62f}\u{6cc}\u{646}",
        ] {
            assert!(is_name(good), "{good:?}");
        }
        for c in
            ['\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}', '\n', '\0']
        {
            assert!(!is_name(&format!("Ada{c}gpj")), "{c:?}");
        }
        for nothing in [
            "",
            " ",
            "\u{ad}",
            "\u{200b} \u{fe0f}",
            "\u{3164}",
            "\u{2800}\u{2800}",
            "\u{e0041}",
            "\u{13441}\u{13442}",
        ] {
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
            '\u{13441}',
            '\u{13442}',
            '\u{fe0f}',
            '\u{20e3}',
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
            ("Straße", "STRASSE"),
            ("İsmail", "ismail"),
            ("Iğdır", "IĞDIR"),
            ("O\u{2019}Brien", "o'brien"),
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
            ("HR", "\u{41d}R"),
            ("TEAM", "\u{422}\u{415}\u{410}\u{41c}"),
            ("Bob", "\u{412}ob"),
            ("News", "\u{39d}ews"),
            ("Zoo", "\u{396}oo"),
            ("Kids", "\u{41a}ids"),
            ("Marketing", "\u{41c}arketing"),
            ("IT", "\u{406}T"),
            ("it's", "it\u{b4}s"),
            ("x,y", "x\u{b8}y"),
            ("59", "\u{1bc}9"),
            ("nato-2024", "\u{39d}\u{391}\u{3a4}\u{39f}-2024"),
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
    fn a_name_looks_as_it_is_written() {
        for (one, other) in [
            ("general", "generaI"),
            ("c1", "cI"),
            ("AI", "Al"),
            ("all", "a|I"),
            ("I", "\u{406}"),
            ("modern", "rnodem"),
            ("NATO", "\u{39d}\u{391}\u{3a4}\u{39f}"),
            ("my  team", "my\u{a0}t\u{435}am\u{200b}"),
        ] {
            assert_eq!(written_look(one), written_look(other), "{one:?} {other:?}");
        }
        for (one, other) in [
            ("mail", "mall"),
            ("IA", "LA"),
            ("#ia", "#la"),
            ("GENERAL", "generaI"),
            ("General", "general"),
            ("", "l"),
        ] {
            assert_ne!(written_look(one), written_look(other), "{one:?} {other:?}");
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
            "-\u{301}",
            "🎉\u{301}",
            "a\u{fffc}",
            "🏴\u{e0067}",
            "🏴\u{e0067}\u{e007f}",
            "🏴\u{e0067}\u{e0062}\u{e007f}",
            "🏴\u{e0031}\u{e0031}\u{e0061}\u{e007f}",
            "🏴\u{e0067}\u{e0062}\u{e0041}\u{e007f}",
            "1\u{fe0f}",
            "b\u{20e3}",
            "b\u{fe0f}\u{20e3}",
            "\u{661}\u{20e3}",
            "1 \u{20e3}",
            "1\u{20e3}\u{20e3}",
            "1\u{fe0f}\u{fe0f}\u{20e3}",
            "a🏴\u{e0061}\u{e0062}\u{e0061}\u{e0062}\u{e0061}\u{e0062}\u{e0061}\u{e007f}",
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
        for (sought, folded) in
            [("(Kurt)", "kurt)"), ("\u{201c}The", "the"), ("_bot", "bot"), ("🦊", "🦊"), ("", "")]
        {
            assert_eq!(fold_sought(sought), folded, "{sought:?}");
        }
    }
}
