//! Several processes of one role: each serves the role's address, which they share, and one of its own, where
//! the others bring it the turns of its conversations.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use tsm_api::client::Client;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_services::runtime::Environment;
use tsm_services::server::Peer;
use tsm_services::siblings::Siblings;

use super::plan::{CityPlan, Role};
use super::roles;

/// The processes of one role on this machine, as one of them sees them.
pub struct SiblingProcesses {
    plan: CityPlan,
    role: Role,
    environment: Environment,
    here: String,
    peer: Peer,
    known: Mutex<HashMap<String, Client>>,
}

impl SiblingProcesses {
    /// The view of the process that alone serves `here`.
    pub fn around(
        plan: &CityPlan,
        role: Role,
        here: SocketAddr,
        environment: &Environment,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let peer = roles::peer(plan.role(role))?;
        let (plan, environment) = (plan.clone(), environment.clone());
        Ok(Self { plan, role, environment, here: here.to_string(), peer, known: Mutex::default() })
    }

    fn connect(&self, address: &str) -> Result<Client, Box<dyn std::error::Error>> {
        roles::client_of(&self.plan, self.role, address.parse()?, &self.environment)
    }
}

#[async_trait]
impl Siblings for SiblingProcesses {
    fn here(&self) -> &str {
        &self.here
    }

    fn peer(&self) -> &Peer {
        &self.peer
    }

    async fn at(&self, address: &str) -> Result<Client, Problem> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = known.get(address) {
            return Ok(client.clone());
        }
        let client =
            self.connect(address).map_err(|error| Problem::because(ProblemCode::Unavailable, error))?;
        known.insert(address.to_owned(), client.clone());
        Ok(client)
    }
}
