//! `invite`, `invitations`, `uninvite`, `add-user`, `reset-password`: what admins do to let people in.

use anyhow::Context as _;
use chat_protocol::{
    InvitationId,
    rest::{CreateInvitation, CreateUser, Invitation, NewInvitation, Role},
};
use clap::{Subcommand, ValueEnum};
use serde_json::json;

use crate::{args::Global, output::Output, people::find_user, session::Session, text};

const DAY_SECONDS: u64 = 86_400;

#[derive(Debug, Subcommand)]
pub(crate) enum Admit {
    /// Make a code with which people make accounts; by an admin
    #[command(
        after_help = "Examples:\n  folkmoot invite\n  folkmoot invite --role guest --uses 20 --days 1 --note 'workshop'"
    )]
    Invite {
        /// What the accounts may do
        #[arg(long, value_enum, default_value = "member")]
        role: Given,
        /// How many accounts may be made with it
        #[arg(long, value_name = "N", default_value_t = 1)]
        uses: u32,
        /// How long it is good
        #[arg(long, value_name = "N", default_value_t = 7)]
        days: u32,
        /// Whom it is for, say; shown in the list of invitations
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// The invitations that are still good; by an admin
    Invitations,
    /// End an invitation; by an admin
    Uninvite {
        /// Its id, as `folkmoot invitations` lists it
        id: InvitationId,
    },
    /// Make an account for somebody, who sets the password by the code that is printed; by an admin
    AddUser {
        /// The handle of their account
        handle: String,
        /// Name to show to others [default: the handle]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// What they may do
        #[arg(long, value_enum, default_value = "member")]
        role: Given,
    },
    /// Make a code with which somebody who forgot their password sets another one; by an admin
    ResetPassword {
        /// The handle of their account
        handle: String,
    },
}

/// A role that can be given to somebody.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Given {
    /// Everything, as the first account
    Owner,
    /// Manages people and channels
    Admin,
    /// Creates and joins channels
    Member,
    /// Only the channels they are added to
    Guest,
}

impl From<Given> for Role {
    fn from(given: Given) -> Self {
        match given {
            Given::Owner => Self::Owner,
            Given::Admin => Self::Admin,
            Given::Member => Self::Member,
            Given::Guest => Self::Guest,
        }
    }
}

impl Admit {
    pub(crate) async fn run(self, global: &Global, out: Output) -> anyhow::Result<()> {
        let Session { rest, url, .. } = &Session::open(global).await?;
        match self {
            Self::Invite { role, uses, days, note } => {
                let request = CreateInvitation {
                    role: Some(role.into()),
                    uses: Some(uses),
                    expires_in: Some(u64::from(days) * DAY_SECONDS),
                    note,
                };
                let made = rest.invite(&request).await?;
                out.item(&made, || {
                    format!(
                        "{}\nor: folkmoot register --user HANDLE --invitation {}",
                        link(url, &made),
                        made.code
                    )
                })
            }
            Self::Invitations => {
                for invitation in rest.invitations().await? {
                    out.item(&invitation, || line(&invitation))?;
                }
                Ok(())
            }
            Self::Uninvite { id } => {
                rest.end_invitation(id).await.with_context(|| format!("could not end invitation {id}"))?;
                out.item(&json!({"id": id, "ended": true}), || "ended".to_owned())
            }
            Self::AddUser { handle, name, role } => {
                let request = CreateUser { handle, display_name: name, role: Some(role.into()) };
                let made = rest.create_user(&request).await?;
                out.item(&made, || {
                    let handle = out.paint.name(&text::one_line(&made.user.handle));
                    format!("made {handle}, who sets a password by:\n{}", redeemed(url, &made.password))
                })
            }
            Self::ResetPassword { handle } => {
                let user = find_user(rest, handle.trim_start_matches('@')).await?;
                let made = rest.reset_password(user.id).await?;
                out.item(&made, || redeemed(url, &made))
            }
        }
    }
}

fn link(url: &str, made: &NewInvitation) -> String {
    format!("{}/#invitation={}", url.trim_end_matches('/'), made.code)
}

fn redeemed(url: &str, made: &NewInvitation) -> String {
    format!("{}/#password={}\nor: folkmoot redeem {}", url.trim_end_matches('/'), made.code, made.code)
}

fn line(invitation: &Invitation) -> String {
    let Invitation { id, account, role, uses_left, note, .. } = invitation;
    let what = match account {
        Some(account) => format!("sets the password of {account}"),
        None => format!("makes accounts ({}), {uses_left} left", format!("{role:?}").to_lowercase()),
    };
    let note = if note.is_empty() { String::new() } else { format!("  {}", text::one_line(note)) };
    format!("{id}  {what}, until {}{note}", text::time(invitation.expires_at))
}
