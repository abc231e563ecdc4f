//! What `opentsm centre` and `opentsm desk` have in common: who acts, how long he is logged in, and the accounts of
//! his institution.
//!
//! A command logs its person in and out again, unless `login` keeps a session in the city's folder. What needs two
//! people needs two who log in.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;
use tsm_api::clearing::clerks::{ClerkDecision, ClerkLine, ClerkPassword, ClerkRole, ClerkSelf, NewClerk};
use tsm_api::clearing::lists::Decision;
use tsm_api::client::Client;
use tsm_api::endpoint::Nothing;
use tsm_domain::environment::Entropy as _;
use tsm_services::explain::moment;

use super::output::Output;
use super::wallet::Spoken;
use crate::city::clerks::{At, KeptSessions, log_in, open_session};
use crate::city::plan::CityPlan;
use crate::environment::SystemEntropy;

/// Who acts, and how it is shown.
#[derive(Debug, Args)]
pub struct Who {
    /// The folder of the running city: that of `opentsm up --data`.
    #[arg(long, value_name = "DIR")]
    pub city: PathBuf,

    /// Who acts. In a city on this machine clerk-1 and clerk-2 propose and approve at the centre, hall-1, hall-2 and
    /// service-1 sit at the issuer's desk, and root and root-2 add people at each.
    #[arg(long, value_name = "NAME")]
    pub clerk: String,

    /// The file of the person's password, where it is not one of the city's own.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    #[command(flatten)]
    pub output: Output,

    /// The language of everything shown.
    #[arg(long, value_enum, default_value_t = Spoken::En)]
    pub language: Spoken,
}

/// What is done about people.
#[derive(Debug, Subcommand)]
pub enum Matter {
    /// Logs the person in for the commands that follow, until `logout` or for eight hours.
    Login,
    /// Ends that session.
    Logout,
    /// Whose session it is, and what the person may do.
    Whoami,
    /// The institution's people.
    Clerks,
    /// Proposes to add a person, or to assign a new password; another administrator approves. Shows the first
    /// password, which the first login must change.
    AddClerk {
        /// The person.
        name: String,
        /// What the person may do.
        #[arg(long, value_enum, required = true)]
        role: Vec<May>,
    },
    /// Approves what another administrator proposed about a person's account.
    ApproveClerk {
        /// The person.
        name: String,
    },
    /// Refuses it.
    RefuseClerk {
        /// The person.
        name: String,
    },
    /// Changes the person's own password, which --password-file gives.
    Password {
        /// The file with the new password.
        file: PathBuf,
    },
}

/// What a person may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum May {
    /// Add people.
    Administrator,
    /// Propose, at the centre.
    Proposer,
    /// Approve, at the centre.
    Approver,
    /// Serve riders in a hall, at the issuer's desk.
    Hall,
    /// Serve riders who are not here, at the issuer's desk.
    CustomerService,
}

/// What a new person needs.
#[derive(Serialize)]
struct Added {
    person: String,
    first_password: String,
}

/// A person who is logged in. The session itself is shown nowhere.
#[derive(Serialize)]
struct LoggedIn {
    person: String,
    roles: Vec<ClerkRole>,
    expires_at: Timestamp,
    password_change_required: bool,
}

impl Who {
    /// The city's plan.
    pub fn plan(&self) -> Result<CityPlan, String> {
        CityPlan::read(&self.city.join("plan.json")).map_err(|error| error.to_string())
    }

    /// Works with the person's session: the one that is kept, or one for this work.
    pub async fn logged_in(
        &self,
        at: At,
        plan: &CityPlan,
        work: impl AsyncFnOnce(Client) -> Result<(), String>,
    ) -> Result<(), String> {
        let kept = KeptSessions::of(at, &self.city);
        if let (None, Some(session)) = (&self.password_file, kept.session(&self.clerk)) {
            let line = at.line(plan).map_err(|error| error.to_string())?;
            return work(line.with_bearer(session)).await;
        }
        let password = self.password()?;
        let client = log_in(at, plan, &self.clerk, password.as_deref()).await;
        let client = client.map_err(|error| error.to_string())?;
        let done = work(client.clone()).await;
        // The session ends either way; what was done is done.
        let ended = client.call(&at.endpoints().logout, &[], &Nothing {}).await;
        done.and(ended.map(drop).map_err(|error| self.language.refusal(&error)))
    }

    /// Does what is about people.
    pub async fn people(&self, at: At, plan: &CityPlan, matter: &Matter) -> Result<(), String> {
        let endpoints = at.endpoints();
        match matter {
            Matter::Login => self.log_in(at, plan).await,
            Matter::Logout => self.log_out(at, plan).await,
            Matter::Whoami => {
                let work = async |client: Client| {
                    let reply = client.call(&endpoints.whoami, &[], &Nothing {}).await;
                    self.output.say(self.language, reply, |own| self.language.own(own))
                };
                self.logged_in(at, plan, work).await
            }
            Matter::Clerks => {
                let work = async |client: Client| {
                    let reply = client.call(&endpoints.list, &[], &Nothing {}).await;
                    self.output.say(self.language, reply, |known| {
                        self.language.lines(&known.clerks, Spoken::clerk, ("no people", "没有人员"))
                    })
                };
                self.logged_in(at, plan, work).await
            }
            Matter::AddClerk { name, role } => {
                let mut bytes = [0; 10];
                SystemEntropy.fill(&mut bytes);
                let first_password = hex::encode(bytes);
                let roles = role.iter().map(|role| role.to_wire()).collect();
                let new = NewClerk { person: name.clone(), roles, first_password };
                let work = async |client: Client| {
                    let reply = client.call(&endpoints.add, &[], &new).await;
                    let first_password = new.first_password.clone();
                    let reply = reply.map(|line| Added { person: line.person, first_password });
                    self.output.say(self.language, reply, |added| self.language.added(added))
                };
                self.logged_in(at, plan, work).await
            }
            Matter::ApproveClerk { name } => self.decide(at, plan, (name, Decision::Approve)).await,
            Matter::RefuseClerk { name } => self.decide(at, plan, (name, Decision::Refuse)).await,
            Matter::Password { file } => {
                let missing = self.language.choose(
                    "give the present password with --password-file",
                    "请用 --password-file 给出当前密码",
                );
                let change = ClerkPassword { old: self.password()?.ok_or(missing)?, new: secret(file)? };
                let work = async |client: Client| {
                    let reply = client.call(&endpoints.password, &[], &change).await;
                    self.output.say(self.language, reply, |_| {
                        self.language.choose("the password is changed", "密码已修改").to_owned()
                    })
                };
                self.logged_in(at, plan, work).await
            }
        }
    }

    async fn decide(
        &self,
        at: At,
        plan: &CityPlan,
        (name, decision): (&str, Decision),
    ) -> Result<(), String> {
        let work = async |client: Client| {
            let reply = client.call(&at.endpoints().decide, &[name], &ClerkDecision { decision }).await;
            self.output.say(self.language, reply, |line| self.language.clerk(line))
        };
        self.logged_in(at, plan, work).await
    }

    async fn log_in(&self, at: At, plan: &CityPlan) -> Result<(), String> {
        let session = open_session(at, plan, &self.clerk, self.password()?.as_deref()).await;
        let session = session.map_err(|error| error.to_string())?;
        KeptSessions::of(at, &self.city)
            .keep(&self.clerk, &session.session)
            .map_err(|error| error.to_string())?;
        let shown = LoggedIn {
            person: self.clerk.clone(),
            roles: session.roles,
            expires_at: session.expires_at,
            password_change_required: session.password_change_required,
        };
        self.output.say(self.language, Ok(shown), |shown| self.language.logged_in(shown))
    }

    async fn log_out(&self, at: At, plan: &CityPlan) -> Result<(), String> {
        let mut kept = KeptSessions::of(at, &self.city);
        let Some(session) = kept.session(&self.clerk).map(str::to_owned) else {
            let (english, chinese) =
                (format!("{} is not logged in", self.clerk), format!("{} 没有登录", self.clerk));
            return Err(self.language.choose(english, chinese));
        };
        let line = at.line(plan).map_err(|error| error.to_string())?;
        let ended = line.with_bearer(session).call(&at.endpoints().logout, &[], &Nothing {}).await;
        // One that has ended by itself is forgotten as well.
        kept.forget(&self.clerk).map_err(|error| error.to_string())?;
        self.output.say(self.language, ended, |_| {
            let (english, chinese) =
                (format!("{} is logged out", self.clerk), format!("{} 已退出", self.clerk));
            self.language.choose(english, chinese)
        })
    }

    fn password(&self) -> Result<Option<String>, String> {
        self.password_file.as_deref().map(secret).transpose()
    }
}

fn secret(file: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(text.trim_end().to_owned())
}

impl May {
    const fn to_wire(self) -> ClerkRole {
        match self {
            Self::Administrator => ClerkRole::Administrator,
            Self::Proposer => ClerkRole::Proposer,
            Self::Approver => ClerkRole::Approver,
            Self::Hall => ClerkRole::Hall,
            Self::CustomerService => ClerkRole::CustomerService,
        }
    }
}

/// The sentences in both languages.
impl Spoken {
    fn role(self, role: ClerkRole) -> &'static str {
        let (english, chinese) = match role {
            ClerkRole::Administrator => ("adds people", "人员管理"),
            ClerkRole::Proposer => ("proposes", "提议"),
            ClerkRole::Approver => ("approves", "审批"),
            ClerkRole::Hall => ("in a hall", "营业厅"),
            ClerkRole::CustomerService => ("customer service", "客服"),
        };
        self.choose(english, chinese)
    }

    fn roles(self, roles: &[ClerkRole]) -> String {
        let words: Vec<_> = roles.iter().map(|role| self.role(*role)).collect();
        words.join(self.choose(", ", "、"))
    }

    fn clerk(self, line: &ClerkLine) -> String {
        let roles = self.roles(&line.roles);
        let (english, chinese) = match line.closed_until.map(moment) {
            None => (String::new(), String::new()),
            Some(until) => (format!("; closed until {until}"), format!("；账户锁定至 {until}")),
        };
        let proposed = line.proposed_by.as_ref().map_or_else(String::new, |by| {
            let roles = self.roles(&line.proposed_roles);
            self.choose(
                format!("; {by} proposes: {roles}; another administrator decides"),
                format!("；{by} 提议：{roles}，须另一名管理员审批"),
            )
        });
        self.choose(
            format!("{}: {roles}{english}{proposed}", line.person),
            format!("{}：{roles}{chinese}{proposed}", line.person),
        )
    }

    fn own(self, own: &ClerkSelf) -> String {
        let ClerkSelf { institution, person, roles, expires_at } = own;
        let (roles, until) = (self.roles(roles), moment(*expires_at));
        self.choose(
            format!("{person} of {institution}: {roles}; logged in until {until}"),
            format!("{institution} 的 {person}：{roles}；登录有效至 {until}"),
        )
    }

    fn added(self, added: &Added) -> String {
        let Added { person, first_password } = added;
        self.choose(
            format!(
                "when another administrator approves, {person} logs in with {first_password} and changes it"
            ),
            format!("另一名管理员审批后，{person} 首次登录使用密码 {first_password}，登录后须修改"),
        )
    }

    fn logged_in(self, shown: &LoggedIn) -> String {
        let LoggedIn { person, roles, expires_at, password_change_required } = shown;
        let (roles, until) = (self.roles(roles), moment(*expires_at));
        let text = self.choose(
            format!("{person} is logged in until {until}: {roles}"),
            format!("{person} 已登录，有效至 {until}：{roles}"),
        );
        let next = self.choose(
            "; the password was assigned: change it first, with `password` and --password-file",
            "；密码为初始密码，请先用 `password` 和 --password-file 修改",
        );
        if *password_change_required { text + next } else { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_shown_in_both_languages() {
        let line = ClerkLine {
            person: "ann".into(),
            roles: vec![ClerkRole::Hall, ClerkRole::CustomerService],
            closed_until: Some(Timestamp::UNIX_EPOCH),
            proposed_by: None,
            proposed_roles: Vec::new(),
        };
        assert_eq!(
            Spoken::En.clerk(&line),
            "ann: in a hall, customer service; closed until 1970-01-01 08:00:00"
        );
        assert_eq!(Spoken::Zh.clerk(&line), "ann：营业厅、客服；账户锁定至 1970-01-01 08:00:00");
    }
}
