//! Where the roles of a city run: together in this process, or each in its own.

use std::net::{Ipv4Addr, SocketAddr};

use async_trait::async_trait;
use tokio::net::TcpListener;

use super::folder::CityFolder;
use super::lines::{CentreLines, CentreSockets};
use super::plan::{CityPlan, Role};
use super::roles::{Running, Sockets};
use super::{CityError, ceremony, in_step, roles};
use crate::children::Program;
use crate::environment;
use crate::handset::Watched;

/// Starts and stops roles.
#[async_trait]
pub trait Host: Send {
    /// Starts a role of the plan; it serves when this returns.
    async fn start(&mut self, plan: &CityPlan, role: Role) -> Result<(), CityError>;

    /// Stops every role; requests that run are finished.
    async fn stop(&mut self);
}

/// Every role in this process.
pub struct Together {
    listeners: Listeners,
    servers: Vec<Running>,
}

impl Together {
    /// Serves on these sockets.
    pub const fn on(listeners: Listeners) -> Self {
        Self { listeners, servers: Vec::new() }
    }
}

#[async_trait]
impl Host for Together {
    async fn start(&mut self, plan: &CityPlan, role: Role) -> Result<(), CityError> {
        let (_, entropy) = environment::real();
        let keys = ceremony::open_keys(plan, role, entropy).map_err(in_step("opening a key file"))?;
        let sockets = self.listeners.take(role);
        let server = roles::start(plan, role, keys, sockets).await.map_err(in_step("starting a role"))?;
        self.servers.push(server);
        Ok(())
    }

    async fn stop(&mut self) {
        for server in self.servers.drain(..) {
            server.stop().await;
        }
    }
}

/// Each role in its own process: `opentsm serve ROLE`.
pub struct Apart {
    folder: CityFolder,
    listeners: Listeners,
    programs: Vec<Program>,
}

impl Apart {
    /// Processes that read the plan of this folder. The sockets keep their ports free for them.
    pub const fn of(folder: CityFolder, listeners: Listeners) -> Self {
        Self { folder, listeners, programs: Vec::new() }
    }
}

#[async_trait]
impl Host for Apart {
    async fn start(&mut self, _: &CityPlan, role: Role) -> Result<(), CityError> {
        let plan = self.folder.plan().into();
        let arguments = ["serve".into(), role.name().into(), "--plan".into(), plan];
        drop(self.listeners.take(role));
        let started = Program::start(role.name(), &arguments, Watched::No).await;
        let (program, _) = started.map_err(in_step("starting the process of a role"))?;
        self.programs.push(program);
        Ok(())
    }

    async fn stop(&mut self) {
        for program in self.programs.drain(..) {
            program.stop().await;
        }
    }
}

/// A listening socket for each role, so that no port is lost between planning and serving.
pub struct Listeners {
    roles: Vec<(Role, TcpListener)>,
    centre: Option<CentreSockets>,
}

impl Listeners {
    /// On ports that are free.
    pub async fn anywhere() -> std::io::Result<Self> {
        let mut bound = Vec::new();
        for role in Role::ALL {
            bound.push((role, TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?));
        }
        Ok(Self { roles: bound, centre: Some(CentreSockets::anywhere().await?) })
    }

    /// On the ports of the plan. A role whose port is taken gets another one, except the SP-TSM,
    /// which the operator knows by its registered address.
    pub async fn of(plan: &CityPlan) -> std::io::Result<Self> {
        let mut bound = Vec::new();
        for role in Role::ALL {
            let address = plan.role(role).address;
            let listener = match TcpListener::bind(address).await {
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && role != Role::SpTsm => {
                    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
                }
                Err(error) => {
                    Err(std::io::Error::new(error.kind(), format!("{} at {address}: {error}", role.name())))
                }
                listening => listening,
            };
            bound.push((role, listener?));
        }
        Ok(Self { roles: bound, centre: Some(CentreSockets::near(plan.lines).await?) })
    }

    /// Where a role will serve.
    pub fn address(&self, role: Role) -> std::io::Result<SocketAddr> {
        let found = self.roles.iter().find(|(of, _)| *of == role);
        found.map_or_else(|| Err(std::io::ErrorKind::NotFound.into()), |(_, listener)| listener.local_addr())
    }

    /// Where the centre will serve files and metrics.
    pub fn lines(&self) -> std::io::Result<CentreLines> {
        self.centre.as_ref().ok_or(std::io::ErrorKind::NotFound)?.lines()
    }

    fn take(&mut self, role: Role) -> Sockets {
        let index = self.roles.iter().position(|(of, _)| *of == role);
        let listener = self.roles.swap_remove(index.expect("each role is started once")).1;
        let centre = if role == Role::Clearing { self.centre.take() } else { None };
        Sockets { role: listener, alone: None, centre }
    }
}
