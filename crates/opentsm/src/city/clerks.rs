//! The people of the card issuer in a city on this machine, at the clearing centre and at the issuer's own desk: the
//! first one, whom the role is started with, and those whom he adds. Their passwords lie in the plan, as every other
//! secret of the city. Who logs in for more than one command has the session kept beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tsm_api::clearing::clerks::{
    self as centre, ClerkDecision, ClerkEndpoints, ClerkLogin, ClerkPassword, ClerkRole, ClerkSession,
    NewClerk,
};
use tsm_api::clearing::lists::Decision;
use tsm_api::client::{Client, ClientError};
use tsm_api::endpoint::Nothing;
use tsm_api::problem::ProblemCode;
use tsm_api::sp_tsm::clerks as issuer;
use tsm_domain::environment::Entropy;
use tsm_services::clearing::FirstClerk;

use super::plan::{CityPlan, Role};
use super::{CityError, in_step, issuer_desk, roles};
use crate::folders;

/// The two who decide together at the centre. Invented.
pub const CENTRE_PEOPLE: [&str; 2] = ["clerk-1", "clerk-2"];
/// The first two people at either desk: one proposes the others, and the second approves them.
const FIRST: &str = "root";
const SECOND: &str = "root-2";

/// A desk at which people log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The clearing centre.
    Centre,
    /// The card issuer's halls and customer service.
    IssuersDesk,
}

/// The people and their passwords.
#[derive(Clone, Serialize, Deserialize)]
pub struct Clerks {
    /// What the role is started with; the first login changes it.
    first_password: String,
    /// Who can log in.
    people: Vec<Person>,
    /// Whether each has chosen the password that stands here.
    #[serde(default = "was_set_up")]
    is_set_up: bool,
    /// Whether the second administrator has; earlier versions had one only.
    #[serde(default)]
    has_second: bool,
}

/// A person and the own password.
#[derive(Clone, Serialize, Deserialize)]
struct Person {
    name: String,
    password: String,
}

/// A password that nobody has to remember.
fn drawn(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    hex::encode(bytes)
}

/// Plans of earlier versions were kept when all was done.
const fn was_set_up() -> bool {
    true
}

impl At {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Centre, Self::IssuersDesk];

    /// Its endpoints.
    pub const fn endpoints(self) -> &'static ClerkEndpoints {
        match self {
            Self::Centre => &centre::ENDPOINTS,
            Self::IssuersDesk => &issuer::ENDPOINTS,
        }
    }

    /// Its people in this city.
    pub const fn clerks(self, plan: &CityPlan) -> Option<&Clerks> {
        match self {
            Self::Centre => plan.centre_clerks.as_ref(),
            Self::IssuersDesk => plan.desk_clerks.as_ref(),
        }
    }

    const fn clerks_mut(self, plan: &mut CityPlan) -> &mut Option<Clerks> {
        match self {
            Self::Centre => &mut plan.centre_clerks,
            Self::IssuersDesk => &mut plan.desk_clerks,
        }
    }

    /// Those whom the first person adds. Invented.
    fn people(self) -> Vec<(&'static str, Vec<ClerkRole>)> {
        match self {
            Self::Centre => {
                CENTRE_PEOPLE.map(|name| (name, vec![ClerkRole::Proposer, ClerkRole::Approver])).into()
            }
            Self::IssuersDesk => vec![
                ("hall-1", vec![ClerkRole::Hall]),
                ("hall-2", vec![ClerkRole::Hall]),
                ("service-1", vec![ClerkRole::CustomerService]),
            ],
        }
    }

    /// The signed line over which its people work, without a person.
    pub fn line(self, plan: &CityPlan) -> Result<Client, CityError> {
        let environment = roles::runtime_of(plan);
        match self {
            Self::Centre => roles::partner(plan, Role::SpTsm, Role::Clearing, &environment)
                .map_err(in_step("reaching the clearing centre")),
            Self::IssuersDesk => {
                let step = "reaching the issuer's desk";
                let desk = plan.issuer_desk.as_ref().ok_or_else(|| in_step(step)(NO_DESK))?;
                desk.line(plan, &environment).map_err(in_step(step))
            }
        }
    }

    const fn staffing(self) -> &'static str {
        match self {
            Self::Centre => "staffing the clearing centre",
            Self::IssuersDesk => "staffing the issuer's desk",
        }
    }

    fn sessions(self, city: &Path) -> PathBuf {
        city.join(match self {
            Self::Centre => "centre-sessions.json",
            Self::IssuersDesk => "desk-sessions.json",
        })
    }
}

/// A city without a desk's certificate was made before there were desks; nothing but a new one has it.
const NO_DESK: &str =
    "this city was made before its issuer had a desk; make a new one with `opentsm up --data`";

impl Clerks {
    /// The people of a new city, who have not logged in yet.
    pub fn new(at: At, entropy: &dyn Entropy) -> Self {
        let password = || drawn(entropy);
        let person = |name: &str| Person { name: name.to_owned(), password: password() };
        let names = [FIRST, SECOND].into_iter().chain(at.people().into_iter().map(|(name, _)| name));
        Self {
            first_password: password(),
            people: names.map(person).collect(),
            is_set_up: false,
            has_second: true,
        }
    }

    /// The first people as the role at this desk is told.
    pub fn first(&self, at: At, plan: &CityPlan) -> Result<[FirstClerk; 2], tsm_domain::IdError> {
        let institution = match at {
            At::Centre => &plan.sp_tsm.institution,
            At::IssuersDesk => issuer_desk::INSTITUTION,
        };
        let first = FirstClerk {
            institution: institution.parse()?,
            person: FIRST.parse()?,
            password: self.first_password.clone(),
        };
        Ok([first.clone(), FirstClerk { person: SECOND.parse()?, ..first }])
    }

    fn own_password(&self, name: &str) -> Option<&str> {
        let known = self.people.iter().find(|person| person.name == name);
        known.map(|person| person.password.as_str())
    }
}

/// Draws the passwords of the desks that have no people yet: those of a new city, and of one that an earlier version
/// made.
pub fn plan_people(plan: &mut CityPlan, entropy: &dyn Entropy) {
    for at in At::ALL {
        let clerks = at.clerks_mut(plan).get_or_insert_with(|| Clerks::new(at, entropy));
        if clerks.own_password(SECOND).is_none() {
            clerks.people.push(Person { name: SECOND.to_owned(), password: drawn(entropy) });
        }
    }
}

/// Each logs in with what was assigned and chooses the password of the plan: the first person, then those whom he
/// adds. Where it was broken off, it begins again.
pub async fn set_up(plan: &mut CityPlan) -> Result<(), CityError> {
    for at in At::ALL {
        // A city without the desk's certificate has nobody who could log in there.
        let is_reached = at == At::Centre || plan.issuer_desk.is_some();
        if is_reached && at.clerks(plan).is_some_and(|clerks| clerks.is_set_up && !clerks.has_second) {
            let assigned = at.clerks(plan).map(|clerks| clerks.first_password.clone()).unwrap_or_default();
            choose(at, plan, SECOND, &assigned).await?;
            if let Some(clerks) = at.clerks_mut(plan) {
                clerks.has_second = true;
            }
        }
        if is_reached && at.clerks(plan).is_some_and(|clerks| !clerks.is_set_up) {
            staff(at, plan).await?;
            if let Some(clerks) = at.clerks_mut(plan) {
                clerks.is_set_up = true;
            }
        }
    }
    Ok(())
}

async fn staff(at: At, plan: &CityPlan) -> Result<(), CityError> {
    let step = at.staffing();
    let clerks = at.clerks(plan).ok_or("nobody is planned").map_err(in_step(step))?;
    let endpoints = at.endpoints();
    for administrator in [FIRST, SECOND] {
        choose(at, plan, administrator, &clerks.first_password).await?;
    }
    let root = log_in(at, plan, FIRST, None).await?;
    let second = log_in(at, plan, SECOND, None).await?;
    let approve = ClerkDecision { decision: Decision::Approve };
    for (name, roles) in at.people() {
        let first_password = format!("first day of {name}, change me");
        let new = NewClerk { person: name.to_owned(), roles, first_password };
        root.call(&endpoints.add, &[], &new).await.map_err(in_step(step))?;
        second.call(&endpoints.decide, &[name], &approve).await.map_err(in_step(step))?;
        choose(at, plan, name, &new.first_password).await?;
    }
    for administrator in [root, second] {
        administrator.call(&endpoints.logout, &[], &Nothing {}).await.map_err(in_step(step))?;
    }
    Ok(())
}

/// Changes what was assigned into the plan's password, unless that was done before.
async fn choose(at: At, plan: &CityPlan, name: &str, assigned: &str) -> Result<(), CityError> {
    let step = at.staffing();
    let own = at.clerks(plan).and_then(|clerks| clerks.own_password(name));
    let own = own.ok_or("nobody has this name").map_err(in_step(step))?;
    let line = at.line(plan)?;
    let session = match session(at, &line, name, assigned).await {
        Ok(session) => session,
        Err(error) if error.code() == Some(ProblemCode::WrongCredentials) => {
            return session_or_why(at, &line, name, own).await.map(drop);
        }
        Err(error) => return Err(in_step(step)(error)),
    };
    let change = ClerkPassword { old: assigned.to_owned(), new: own.to_owned() };
    let person = line.with_bearer(session.session);
    person.call(&at.endpoints().password, &[], &change).await.map_err(in_step(step))?;
    person.call(&at.endpoints().logout, &[], &Nothing {}).await.map(drop).map_err(in_step(step))
}

async fn session(at: At, line: &Client, name: &str, password: &str) -> Result<ClerkSession, ClientError> {
    let login = ClerkLogin { person: name.to_owned(), password: password.to_owned() };
    line.call(&at.endpoints().login, &[], &login).await
}

async fn session_or_why(
    at: At,
    line: &Client,
    name: &str,
    password: &str,
) -> Result<ClerkSession, CityError> {
    session(at, line, name, password).await.map_err(in_step("logging in"))
}

/// Logs a person in. The password is the plan's, unless another one is given.
pub async fn open_session(
    at: At,
    plan: &CityPlan,
    name: &str,
    password: Option<&str>,
) -> Result<ClerkSession, CityError> {
    let line = at.line(plan)?;
    let own = at.clerks(plan).and_then(|clerks| clerks.own_password(name));
    let missing = match at.clerks(plan) {
        Some(_) => "the plan has no password of this person; give it with --password-file",
        None => {
            "this city was made before people logged in; end it and start it again with `opentsm up --data`"
        }
    };
    let password = password.or(own).ok_or(missing).map_err(in_step("logging in"))?;
    session_or_why(at, &line, name, password).await
}

/// A client with the session of a person.
pub async fn log_in(
    at: At,
    plan: &CityPlan,
    name: &str,
    password: Option<&str>,
) -> Result<Client, CityError> {
    let session = open_session(at, plan, name, password).await?;
    Ok(at.line(plan)?.with_bearer(session.session))
}

/// Sessions that outlast a command, by person.
pub struct KeptSessions {
    file: PathBuf,
    sessions: BTreeMap<String, String>,
}

impl KeptSessions {
    /// Those of this desk in the city's folder. A file that cannot be read keeps none.
    pub fn of(at: At, city: &Path) -> Self {
        let file = at.sessions(city);
        let text = std::fs::read(&file).unwrap_or_default();
        Self { file, sessions: serde_json::from_slice(&text).unwrap_or_default() }
    }

    /// A person's.
    pub fn session(&self, name: &str) -> Option<&str> {
        self.sessions.get(name).map(String::as_str)
    }

    /// Keeps one, readable by the folder's owner only.
    pub fn keep(&mut self, name: &str, session: &str) -> std::io::Result<()> {
        self.sessions.insert(name.to_owned(), session.to_owned());
        self.write()
    }

    /// Forgets one.
    pub fn forget(&mut self, name: &str) -> std::io::Result<()> {
        if self.sessions.remove(name).is_some() { self.write() } else { Ok(()) }
    }

    fn write(&self) -> std::io::Result<()> {
        let text = serde_json::to_vec(&self.sessions).expect("a map of texts can always be written");
        folders::write_private(&self.file, &text)
    }
}
