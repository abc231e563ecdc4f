//! The people of the card issuer at the clearing centre, in a city on this machine: the first clerk, whom the centre
//! is started with, and two who decide together. Their passwords lie in the plan, as every other secret of the city.

use serde::{Deserialize, Serialize};
use tsm_api::clearing::clerks::{self as api, ClerkLogin, ClerkPassword, ClerkRole, NewClerk};
use tsm_api::clearing::fares::{self, FareDecision, NewFares};
use tsm_api::clearing::lists::Decision;
use tsm_api::client::Client;
use tsm_api::endpoint::Nothing;
use tsm_domain::environment::Entropy;
use tsm_domain::money::fare::FareTable;
use tsm_domain::money::settlement::BusinessDay;
use tsm_services::clearing::FirstClerk;

use super::plan::{CityPlan, Role};
use super::{CityError, in_step, roles};

/// The first clerk, who adds the others.
const FIRST: &str = "root";
/// The two who decide. Invented.
const PEOPLE: [&str; 2] = ["clerk-1", "clerk-2"];

/// The people and their passwords.
#[derive(Clone, Serialize, Deserialize)]
pub struct CentreClerks {
    /// What the centre is started with; the first login changes it.
    first_password: String,
    /// Who can log in.
    people: Vec<Person>,
}

/// A person and the own password.
#[derive(Clone, Serialize, Deserialize)]
struct Person {
    name: String,
    password: String,
}

impl CentreClerks {
    /// The people of a new city.
    pub fn new(entropy: &dyn Entropy) -> Self {
        let password = || {
            let mut bytes = [0; 16];
            entropy.fill(&mut bytes);
            hex::encode(bytes)
        };
        let person = |name: &str| Person { name: name.to_owned(), password: password() };
        Self { first_password: password(), people: [FIRST].into_iter().chain(PEOPLE).map(person).collect() }
    }

    /// The first clerk as the centre is told.
    pub fn first(&self, plan: &CityPlan) -> Result<FirstClerk, tsm_domain::IdError> {
        Ok(FirstClerk {
            institution: plan.sp_tsm.institution.parse()?,
            person: FIRST.parse()?,
            password: self.first_password.clone(),
        })
    }

    /// Each logs in with what was assigned and chooses a password: the first clerk, then those whom he adds.
    pub async fn set_up(&self, plan: &CityPlan) -> Result<(), CityError> {
        let step = "staffing the clearing centre";
        self.choose(plan, FIRST, &self.first_password).await?;
        let root = self.log_in(plan, FIRST, None).await?;
        for name in PEOPLE {
            let first_password = format!("first day of {name}, change me");
            let roles = vec![ClerkRole::Proposer, ClerkRole::Approver];
            let new = NewClerk { person: name.to_owned(), roles, first_password };
            root.call(&api::ADD_CLERK, &[], &new).await.map_err(in_step(step))?;
            self.choose(plan, name, &new.first_password).await?;
        }
        root.call(&api::LOGOUT, &[], &Nothing {}).await.map(drop).map_err(in_step(step))
    }

    /// One clerk proposes a fare table that is in force from the beginning of this day; the other publishes it.
    pub async fn publish_fares(&self, plan: &CityPlan, table: &FareTable) -> Result<(), CityError> {
        let step = "publishing the fare table";
        let [proposer, publisher] = PEOPLE;
        let text = serde_json::to_string(table).map_err(in_step(step))?;
        let today = BusinessDay::of(roles::runtime_of(plan).clock.now());
        let new = NewFares { valid_from: today.previous().cut(), valid_until: None, text };
        let proposer = self.log_in(plan, proposer, None).await?;
        let proposed = proposer.call(&fares::PROPOSE, &[], &new).await.map_err(in_step(step))?;
        let decision = FareDecision { digest: proposed.digest, decision: Decision::Approve };
        let publisher = self.log_in(plan, publisher, None).await?;
        let version = proposed.version.to_string();
        publisher.call(&fares::DECIDE, &[&version], &decision).await.map_err(in_step(step))?;
        for person in [proposer, publisher] {
            person.call(&api::LOGOUT, &[], &Nothing {}).await.map_err(in_step(step))?;
        }
        Ok(())
    }

    /// A client with the session of a person, whose password is the plan's unless another one is given.
    pub async fn log_in(
        &self,
        plan: &CityPlan,
        name: &str,
        password: Option<&str>,
    ) -> Result<Client, CityError> {
        let step = "logging in at the clearing centre";
        let known = self.people.iter().find(|person| person.name == name);
        let password = password.or_else(|| known.map(|person| person.password.as_str()));
        let password =
            password.ok_or("the plan has no password of this person; give it with --password-file");
        session(plan, name, password.map_err(in_step(step))?).await
    }

    async fn choose(&self, plan: &CityPlan, name: &str, assigned: &str) -> Result<(), CityError> {
        let step = "choosing a password at the clearing centre";
        let own = self.people.iter().find(|person| person.name == name);
        let own = own.ok_or("nobody has this name").map_err(in_step(step))?;
        let client = session(plan, name, assigned).await?;
        let change = ClerkPassword { old: assigned.to_owned(), new: own.password.clone() };
        client.call(&api::PASSWORD, &[], &change).await.map(drop).map_err(in_step(step))
    }
}

/// Logs a person in over the card issuer's own line.
async fn session(plan: &CityPlan, name: &str, password: &str) -> Result<Client, CityError> {
    let step = "logging in at the clearing centre";
    let environment = roles::runtime_of(plan);
    let client = roles::partner(plan, Role::SpTsm, Role::Clearing, &environment).map_err(in_step(step))?;
    let login = ClerkLogin { person: name.to_owned(), password: password.to_owned() };
    let session = client.call(&api::LOGIN, &[], &login).await.map_err(in_step(step))?;
    Ok(client.with_bearer(session.session))
}
