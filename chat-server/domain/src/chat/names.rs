//! Names of people.

use chat_protocol::limits::MAX_DISPLAY_NAME_CHARS;

use super::ChatError;

/// A display name without the blanks around it.
///
/// # Errors
/// Nothing is left, it is too long, or it has control characters.
pub fn display_name(name: &str) -> Result<String, ChatError> {
    let name = name.trim();
    let fits = (1..=MAX_DISPLAY_NAME_CHARS).contains(&name.chars().count());
    if !fits || name.chars().any(char::is_control) {
        return Err(ChatError::invalid(format!(
            "not a usable display name: it takes 1 to {MAX_DISPLAY_NAME_CHARS} characters without control characters"
        )));
    }
    Ok(name.to_owned())
}
