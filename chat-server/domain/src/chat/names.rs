//! Names of people.

use chat_log::text::{is_name, tidy};
use chat_protocol::limits::MAX_DISPLAY_NAME_CHARS;

use super::ChatError;

/// A display name as it is kept, see [`tidy`].
///
/// # Errors
/// Nothing of it shows, it is too long, or it has characters that do not show or control how text shows.
pub fn display_name(name: &str) -> Result<String, ChatError> {
    let name = tidy(name.trim());
    let fits = (1..=MAX_DISPLAY_NAME_CHARS).contains(&name.chars().count());
    if !fits || !is_name(&name) {
        return Err(ChatError::invalid(format!(
            "not a usable display name: it takes 1 to {MAX_DISPLAY_NAME_CHARS} characters that show, without control \
             characters, characters that do not show, and marks that turn the direction of text"
        )));
    }
    Ok(name)
}
