//! Which texts can be reactions.

use unicode_properties::{EmojiStatus, GeneralCategory, UnicodeEmoji as _, UnicodeGeneralCategory as _};

use crate::text::{KEY, is_assigned, is_invisible, is_part_of_country};

/// Length of an emoji in bytes, at most: those that are put together from many have up to 41 (Unicode 16, emoji-zwj-sequences).
const MAX_EMOJI_BYTES: usize = 64;

/// Makes one picture of the two that it stands between.
const JOINER: char = '\u{200d}';
/// Shows what stands before it as a text.
const TEXT: char = '\u{fe0e}';
/// What tags make the flag of a part of a country.
const BLACK_FLAG: char = '\u{1f3f4}';
/// Ends the tags of a flag.
const LAST_TAG: char = '\u{e007f}';

/// Whether a text can be a reaction: one emoji as UTS 51 builds them (`ED-17`, and the regular expression in its §1.4.9), or one
/// symbol. Which sequences a font has changes with each version of Unicode, so that is not asked for.
///
/// # Errors
/// What was expected.
pub fn check_emoji(emoji: &str) -> Result<(), String> {
    // What is joined is a picture.
    let as_text = emoji.contains(JOINER) && emoji.contains(TEXT);
    if emoji.len() <= MAX_EMOJI_BYTES && !as_text && emoji.split(JOINER).all(is_element) {
        return Ok(());
    }
    Err(format!(
        "not an emoji: allowed is one, of at most {MAX_EMOJI_BYTES} bytes; no words, no white space, no control characters"
    ))
}

/// Whether it is what joiners stand between: two letters of a flag, or a picture and what changes how it looks.
fn is_element(text: &str) -> bool {
    let is_regional = |c| matches!(c, '\u{1f1e6}'..='\u{1f1ff}');
    let mut chars = text.chars();
    let Some(picture) = chars.next() else { return false };
    let rest: Vec<char> = chars.collect();
    if is_regional(picture) {
        return rest.len() == 1 && is_regional(rest[0]);
    }
    if picture.is_ascii() {
        return picture.is_emoji_char() && matches!(rest[..], ['\u{fe0f}', KEY] | [KEY]);
    }
    let is_look = match rest[..] {
        [] | [TEXT | '\u{fe0f}'] => true,
        ['\u{1f3fb}'..='\u{1f3ff}'] => has_skin(picture),
        [ref tags @ .., LAST_TAG] => picture == BLACK_FLAG && is_part_of_country(tags),
        _ => false,
    };
    is_look && (picture.is_emoji_char() || is_symbol(picture))
}

/// Whether it can have a colour of skin.
fn has_skin(c: char) -> bool {
    matches!(c.emoji_status(), EmojiStatus::EmojiModifierBase | EmojiStatus::EmojiPresentationAndModifierBase)
}

/// Whether it is a sign that is no letter: arrows, ticks, money, letters in a circle or a square.
fn is_symbol(c: char) -> bool {
    let is_number_in_circle = matches!(c, '\u{2460}'..='\u{24ff}' | '\u{2776}'..='\u{2793}' | '\u{3200}'..='\u{32ff}' | '\u{1f100}'..='\u{1f1ff}');
    let is_sign = matches!(
        c.general_category(),
        GeneralCategory::MathSymbol | GeneralCategory::CurrencySymbol | GeneralCategory::OtherSymbol
    );
    (is_sign || is_number_in_circle) && is_assigned(c) && !is_invisible(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_no_reactions() {
        for good in [
            "👍",
            "❤️",
            "1️⃣",
            "ℹ️",
            "Ⓜ️",
            "㊗️",
            "🅰️",
            "🇩🇪",
            "👩🏽‍❤️‍💋‍👨🏿",
            "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
            "→",
            "✓",
            "☎\u{fe0e}",
            "🏳\u{fe0f}\u{200d}🌈",
            "🏳\u{200d}🌈",
            "1\u{20e3}",
        ] {
            assert_eq!(check_emoji(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "ok",
            ":+1:",
            "да",
            "日本",
            "é",
            "\u{202e}",
            "👍\u{202e}",
            "👍 ",
            "👍\n",
            "\u{0}",
            ".",
            "\u{fe0f}",
            "\u{ad}",
            "👍\u{ad}",
            "\u{200d}",
            "\u{200d}\u{fe0f}",
            "\u{34f}",
            "\u{180e}",
            "\u{2063}",
            "\u{2800}",
            "\u{3164}",
            "\u{fffa}",
            "\u{fffc}",
            "\u{fffd}",
            "\u{e000}",
            "\u{fdd0}",
            "\u{1ffff}",
            "\u{10ffff}",
            "\u{301}",
            "👍\u{301}",
            "\u{20e3}",
            "\u{1d173}",
            "\u{e0001}",
            "\u{e0067}\u{e007f}",
            "👍👍",
            "👍\u{200d}",
            "\u{200d}👍",
            "👍\u{200d}\u{200d}👍",
            "❤\u{fe0f}\u{fe0f}",
            "👍\u{e0067}",
            "👍\u{e007f}",
            "👍1",
            "1\u{fe0f}",
            "🇩",
            "🇩🇪🇫",
            "\u{378}",
            "👍\u{e0067}\u{e007f}",
            "🏴\u{e0067}\u{e0062}\u{e007f}",
            "→🏽",
            "🎉🏽",
            "🏽🏽",
            "🏳\u{fe0e}\u{200d}🌈",
            "\u{1d159}",
            &"👍\u{200d}".repeat(17),
        ] {
            assert!(check_emoji(bad).is_err(), "{bad:?}");
        }
    }
}
