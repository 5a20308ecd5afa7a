//! People whom a test puts into a store by itself.

use chat_domain::{
    chat::{Actor, now_ms},
    store::Store,
};
use chat_protocol::{
    SessionId, UserId,
    rest::{Role, User},
};

/// Somebody who is in no store yet.
pub fn new_user(handle: &str, display_name: &str, role: Role) -> User {
    User {
        id: UserId::new(),
        handle: handle.into(),
        display_name: display_name.into(),
        role,
        created_at: now_ms(),
        deactivated: false,
    }
}

/// Somebody who is in this store, and what they act as.
pub async fn stored(store: &dyn Store, handle: &str, role: Role) -> Actor {
    let user = new_user(handle, handle, role);
    assert!(store.create_user(&user).await.expect("is stored"));
    Actor { user: user.id, role: user.role, auth_version: 0, session: SessionId::new() }
}
