//! Accounts, sessions and people.

use chat_protocol::{
    InvitationId, SessionId, UserId,
    limits::MAX_PAGE,
    rest::{
        CreateInvitation, CreateUser, CreatedUser, Invitation, LoginRequest, NewInvitation, Page,
        PasswordRequest, RedeemRequest, RegisterRequest, SessionInfo, TokenResponse, UpdateUser, User,
    },
};
use reqwest::Method;

use super::{Rest, RestError, execute, read};

impl Rest {
    /// Signs in.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn login(
        &self,
        handle: &str,
        password: &str,
        device: Option<&str>,
    ) -> Result<TokenResponse, RestError> {
        let body = LoginRequest {
            handle: handle.to_owned(),
            password: password.to_owned(),
            device: device.map(str::to_owned),
        };
        let path = "v1/auth/login";
        read(execute(self.request(Method::POST, path)?.json(&body), path).await?, path).await
    }

    /// Makes an account and signs in.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn register(&self, account: &RegisterRequest) -> Result<TokenResponse, RestError> {
        let path = "v1/auth/register";
        read(execute(self.request(Method::POST, path)?.json(account), path).await?, path).await
    }

    /// Sets a password by an invitation and signs in.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn redeem(&self, body: &RedeemRequest) -> Result<TokenResponse, RestError> {
        let path = "v1/auth/redeem";
        read(execute(self.request(Method::POST, path)?.json(body), path).await?, path).await
    }

    /// Invites people to make accounts.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn invite(&self, body: &CreateInvitation) -> Result<NewInvitation, RestError> {
        self.with_body(Method::POST, "v1/invitations", body).await
    }

    /// The invitations that are still good.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn invitations(&self) -> Result<Vec<Invitation>, RestError> {
        self.all("v1/invitations", &[]).await
    }

    /// Ends an invitation.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn end_invitation(&self, id: InvitationId) -> Result<(), RestError> {
        self.signed(Method::DELETE, &format!("v1/invitations/{id}"), |request| request).await.map(drop)
    }

    /// Makes an account for somebody else.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn create_user(&self, body: &CreateUser) -> Result<CreatedUser, RestError> {
        self.with_body(Method::POST, "v1/users", body).await
    }

    /// Lets somebody who forgot their password set another one.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn reset_password(&self, user: UserId) -> Result<NewInvitation, RestError> {
        self.with_body(Method::POST, &format!("v1/users/{user}/password-reset"), &()).await
    }

    /// Ends this session.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn logout(&self) -> Result<(), RestError> {
        self.signed(Method::POST, "v1/auth/logout", |request| request).await.map(drop)
    }

    /// Changes the password and ends all other sessions.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn change_password(&self, body: &PasswordRequest) -> Result<(), RestError> {
        self.signed(Method::POST, "v1/auth/password", |request| request.json(body)).await.map(drop)
    }

    /// Where one is signed in.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn sessions(&self) -> Result<Vec<SessionInfo>, RestError> {
        self.all("v1/auth/sessions", &[]).await
    }

    /// Ends one of the user's sessions.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn revoke_session(&self, session: SessionId) -> Result<(), RestError> {
        self.signed(Method::DELETE, &format!("v1/auth/sessions/{session}"), |request| request).await.map(drop)
    }

    /// Oneself.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn me(&self) -> Result<User, RestError> {
        self.get("v1/users/me", &[]).await
    }

    /// One user.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn user(&self, user: UserId) -> Result<User, RestError> {
        self.get(&format!("v1/users/{user}"), &[]).await
    }

    /// Changes a user.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn update_user(&self, user: UserId, body: &UpdateUser) -> Result<User, RestError> {
        self.with_body(Method::PATCH, &format!("v1/users/{user}"), body).await
    }

    /// One page of people whose handle or name begins with `prefix` (all for an empty one).
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn users(&self, prefix: &str, cursor: Option<&str>) -> Result<Page<User>, RestError> {
        let mut query = vec![("limit", MAX_PAGE.to_string())];
        if !prefix.is_empty() {
            query.push(("q", prefix.to_owned()));
        }
        if let Some(cursor) = cursor {
            query.push(("cursor", cursor.to_owned()));
        }
        self.get("v1/users", &query).await
    }

    /// These users, those that exist.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn users_by_id(&self, users: &[UserId]) -> Result<Vec<User>, RestError> {
        let mut found = Vec::with_capacity(users.len());
        for some in users.chunks(100) {
            let ids = some.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            found.extend(self.all::<User>("v1/users", &[("ids", ids)]).await?);
        }
        Ok(found)
    }
}
