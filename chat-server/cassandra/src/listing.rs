//! Users in order of handle, all of them or those whose handle or display name begins with something.
//!
//! Handles that begin with something are a range of one partition. Display names are kept by beginnings of some lengths, from each
//! of their words on; the longest that is no longer than what is sought leads to few rows, and the rest of it is compared here.

use std::collections::{BTreeMap, BTreeSet};

use chat_domain::store::StoreError;
use chat_log::text::{fold, fold_sought, from_each_word, has_beginning};
use chat_protocol::{UserId, rest::User};

use super::{
    CassandraStore,
    codec::{self, limit, text, undone},
    cql::{Statement, Value},
    users::{RING, USER},
};

const INITIALS: Statement = Statement::read("SELECT initial FROM initials WHERE ring = ?");
const BY_HANDLE: Statement = Statement::read(
    "SELECT handle, user FROM users_by_handle WHERE initial = ? AND handle > ? AND handle < ? LIMIT ?",
);
const AT_HANDLE: Statement =
    Statement::read("SELECT handle, user FROM users_by_handle WHERE initial = ? AND handle = ?");
const BY_NAME: Statement =
    Statement::read("SELECT handle, user, name_key FROM users_by_name WHERE prefix = ? AND handle > ?");

/// Lengths in characters of the beginnings by which display names are kept.
const LENGTHS: [usize; 6] = [1, 2, 3, 5, 8, 12];
/// Comes after every character that a handle can go on with.
const LAST: char = '\u{10FFFF}';
/// Rows of beginnings of names that are read at a time.
const SLICE: usize = 500;

/// What a handle's partition is called.
pub(super) fn initial(handle: &str) -> &str {
    handle.chars().next().map_or("", |first| &handle[..first.len_utf8()])
}

/// The beginnings by which a folded display name is kept, in order.
pub(super) fn prefixes(folded: &str) -> Vec<String> {
    let of = |end| LENGTHS.iter().filter_map(move |&length| beginning(end, length));
    let all: BTreeSet<&str> = from_each_word(folded).flat_map(of).collect();
    all.into_iter().map(Into::into).collect()
}

fn beginning(text: &str, length: usize) -> Option<&str> {
    let (last, c) = text.char_indices().nth(length - 1)?;
    Some(&text[..last + c.len_utf8()])
}

/// The beginning to look under for names that begin with `sought`.
fn bucket(sought: &str) -> Option<&str> {
    LENGTHS.iter().rev().find_map(|&length| beginning(sought, length))
}

impl CassandraStore {
    pub(super) async fn listed(
        &self,
        prefix: Option<&str>,
        after: Option<&str>,
        most: usize,
    ) -> Result<Vec<User>, StoreError> {
        let sought = fold_sought(prefix.unwrap_or_default());
        let mut after = after.unwrap_or_default().to_owned();
        let mut users = Vec::new();
        while users.len() < most {
            let wanted = most - users.len();
            // By handle, so that one who is found both ways is found once, and in order. Rows by handle are never behind.
            let mut found = self.by_name(&sought, &after, wanted).await?;
            found.extend(self.by_handle(&sought, &after, wanted).await?);
            let more = found.len() >= wanted;
            let page: Vec<(String, UserId)> = found.into_iter().take(wanted).collect();
            let Some((last, _)) = page.last() else { break };
            after.clone_from(last);
            let ids = page.iter().map(|(_, user)| Value::Uuid(user.0)).collect();
            let read = self.each(USER, ids, codec::user).await?;
            users.extend(read.into_iter().filter(|user| {
                let listed = page.binary_search_by(|(handle, _)| handle.cmp(&user.handle));
                listed.is_ok_and(|at| page[at].1 == user.id)
                    && (user.handle.starts_with(&sought) || has_beginning(&fold(&user.display_name), &sought))
            }));
            if !more {
                break;
            }
        }
        Ok(users)
    }

    async fn by_handle(
        &self,
        sought: &str,
        after: &str,
        most: usize,
    ) -> Result<BTreeMap<String, UserId>, StoreError> {
        let mut found = BTreeMap::new();
        let initials = if sought.is_empty() {
            let rows = self.rows(INITIALS, vec![Value::TinyInt(RING)]).await?;
            rows.iter().map(|row| codec::string(row, "initial")).collect::<Result<_, _>>()?
        } else {
            vec![initial(sought).to_owned()]
        };
        let from = initial(after);
        for initial in initials.into_iter().filter(|first| first.as_str() >= from) {
            let beginning = if sought.is_empty() { &initial } else { sought };
            let (first, last) = (text(&initial), text(&format!("{beginning}{LAST}")));
            let mut rows = Vec::new();
            let from = if after < beginning {
                // Whoever is called just that, and then those after it.
                rows.extend(self.rows(AT_HANDLE, vec![first.clone(), text(beginning)]).await?);
                beginning
            } else {
                after
            };
            let left = limit(most - found.len());
            rows.extend(self.rows(BY_HANDLE, vec![first, text(from), last, left]).await?);
            for row in rows {
                found.insert(codec::string(&row, "handle")?, UserId(codec::uuid(&row, "user")?));
            }
            if found.len() >= most {
                break;
            }
        }
        Ok(found)
    }

    async fn by_name(
        &self,
        sought: &str,
        after: &str,
        most: usize,
    ) -> Result<BTreeMap<String, UserId>, StoreError> {
        let mut found = BTreeMap::new();
        let Some(bucket) = bucket(sought) else { return Ok(found) };
        let values = vec![text(bucket), text(after)];
        let mut from = None;
        loop {
            let page = self.cql.page(BY_NAME, values.clone(), SLICE, from).await.map_err(undone)?;
            for row in page
                .rows
                .iter()
                .filter(|row| row.text("name_key").is_some_and(|key| has_beginning(key, sought)))
            {
                if found.len() < most {
                    found.insert(codec::string(row, "handle")?, UserId(codec::uuid(row, "user")?));
                }
            }
            from = page.next;
            if from.is_none() || found.len() >= most {
                return Ok(found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_by_beginnings_of_their_characters() {
        assert_eq!(prefixes("ädä x"), ["x", "ä", "äd", "ädä", "ädä x"]);
        assert_eq!(prefixes("ada ad"), ["a", "ad", "ada", "ada a"]);
        assert_eq!(prefixes(""), Vec::<String>::new());
        assert_eq!((bucket("äd"), bucket("ädä "), bucket("")), (Some("äd"), Some("ädä"), None));
        assert_eq!((initial("äda"), initial("")), ("ä", ""));
    }
}
