//! Characters that do not show, or that change how others show. By Unicode 16: no crate of tables is needed for so few.

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
        || matches!(c, '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a text can be the name of somebody or something: some of it shows, and none of it changes what stands around it.
#[must_use]
pub fn is_name(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() || is_bidi_control(c))
        && text.chars().any(|c| !c.is_whitespace() && !is_invisible(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_shows_and_changes_nothing_around_it() {
        for good in ["Ada", "Ada L.", "Zoë", "עדה", "آدا", "می\u{200c}خواهم", "👩\u{200d}🚀", "日本"]
        {
            assert!(is_name(good), "{good:?}");
        }
        for c in
            ['\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}', '\n', '\0']
        {
            assert!(!is_name(&format!("Ada{c}gpj")), "{c:?}");
        }
        for nothing in ["", " ", "\u{ad}", "\u{200b} \u{fe0f}", "\u{3164}", "\u{2800}\u{2800}", "\u{e0041}"] {
            assert!(!is_name(nothing), "{nothing:?}");
        }
    }
}
