//! The numbers by which tables name kinds of channels and roles. They are stored: none of them changes, new ones are added.

use chat_protocol::{ChannelKind, rest::Role};

const KINDS: [ChannelKind; 4] =
    [ChannelKind::Public, ChannelKind::Private, ChannelKind::Direct, ChannelKind::Group];
const ROLES: [Role; 5] = [Role::Owner, Role::Admin, Role::Member, Role::Guest, Role::Bot];

/// The number of a kind.
#[must_use]
pub const fn kind_number(kind: ChannelKind) -> i8 {
    match kind {
        ChannelKind::Public => 0,
        ChannelKind::Private => 1,
        ChannelKind::Direct => 2,
        ChannelKind::Group => 3,
    }
}

/// The number of a role.
#[must_use]
pub const fn role_number(role: Role) -> i8 {
    match role {
        Role::Owner => 0,
        Role::Admin => 1,
        Role::Member => 2,
        Role::Guest => 3,
        Role::Bot => 4,
    }
}

/// `None` for a number that no kind has.
#[must_use]
pub fn kind(number: i64) -> Option<ChannelKind> {
    KINDS.into_iter().find(|kind| i64::from(kind_number(*kind)) == number)
}

/// `None` for a number that no role has.
#[must_use]
pub fn role(number: i64) -> Option<Role> {
    ROLES.into_iter().find(|role| i64::from(role_number(*role)) == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_leads_back_and_no_other_leads_anywhere() {
        for (number, expected) in (0..).zip(KINDS) {
            assert_eq!((i64::from(kind_number(expected)), kind(number)), (number, Some(expected)));
        }
        for (number, expected) in (0..).zip(ROLES) {
            assert_eq!((i64::from(role_number(expected)), role(number)), (number, Some(expected)));
        }
        assert_eq!([kind(-1), kind(4), kind(256)], [None; 3]);
        assert_eq!([role(-1), role(5), role(256)], [None; 3]);
    }
}
