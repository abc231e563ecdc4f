//! `opentsm serve ROLE`: one role alone, from the plan of its city.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use tokio::net::{TcpListener, TcpSocket};

use crate::city::lines::{CentreLines, CentreSockets};
use crate::city::plan::{CityPlan, Role};
use crate::city::roles::Sockets;
use crate::city::{ceremony, roles};
use crate::environment;
use crate::profile::{self, Profile};
use crate::stop::Attendance;

/// Options of `opentsm serve`.
#[derive(Debug, Args)]
pub struct Options {
    /// The role to serve.
    role: Role,

    /// The plan of the city: `plan.json` in the folder of `opentsm up --data`.
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,

    /// What the server is for. In production it refuses to start with anything that is there for
    /// development only.
    #[arg(long, value_enum, default_value_t)]
    profile: Profile,

    /// Where the clearing centre takes files (clearing transport, TLS); where the plan says, without it.
    #[arg(long, value_name = "ADDRESS")]
    files: Option<SocketAddr>,

    /// Where the clearing centre answers `GET /metrics`, on this machine only; where the plan says, without it.
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,

    #[command(flatten)]
    attendance: Attendance,
}

/// Serves until asked to stop; requests that run are finished.
pub fn run(options: &Options) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(serve(options))
}

async fn serve(options: &Options) -> Result<(), String> {
    let role = options.role;
    let plan = CityPlan::read(&options.plan).map_err(|error| error.to_string())?;
    let (_, entropy) = environment::real();
    let keys = ceremony::open_keys(&plan, role, entropy)
        .map_err(|error| format!("{}: {error}", plan.role(role).keys.display()))?;
    if options.profile == Profile::Production {
        let found = profile::test_only(&plan, role, &keys);
        if !found.is_empty() {
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            return Err(format!(
                "{} does not start in the production profile: {}",
                role.name(),
                found.join("; ")
            ));
        }
    }
    let address = plan.role(role).address;
    let cannot = |error: std::io::Error| format!("{} cannot listen on {address}: {error}", role.name());
    // On a shared database several processes may serve one role; connections are spread among them.
    let (listener, alone) = if plan.database.is_some() {
        let alone = TcpListener::bind((address.ip(), 0)).await.map_err(cannot)?;
        (shared(address).map_err(cannot)?, Some(alone))
    } else {
        (TcpListener::bind(address).await.map_err(cannot)?, None)
    };
    let centre = match role {
        Role::Clearing => Some(centre_sockets(options, &plan).await?),
        Role::SeTsm | Role::SpTsm | Role::Payment => None,
    };
    let sockets = Sockets { role: listener, alone, centre };
    let running = roles::start(&plan, role, keys, sockets).await.map_err(|error| error.to_string())?;
    let asked = options.attendance.until_asked();
    let lines = running.lines.as_ref().map(|served| {
        let CentreLines { files, metrics } = served.lines;
        format!(", files on {files}, metrics on http://{metrics}/metrics")
    });
    say!("{} serves on {}{}", role.name(), running.server.address(), lines.unwrap_or_default());
    asked.await;
    running.stop().await;
    say!("{} has stopped", role.name());
    Ok(())
}

/// The centre's own lines. On a shared database several processes may serve them, too.
async fn centre_sockets(options: &Options, plan: &CityPlan) -> Result<CentreSockets, String> {
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let planned = plan.lines.unwrap_or(CentreLines { files: anywhere, metrics: anywhere });
    let bind = async |address: SocketAddr| {
        let bound = if plan.database.is_some() { shared(address) } else { TcpListener::bind(address).await };
        bound.map_err(|error| format!("the clearing centre cannot listen on {address}: {error}"))
    };
    Ok(CentreSockets {
        files: bind(options.files.unwrap_or(planned.files)).await?,
        metrics: bind(options.metrics.unwrap_or(planned.metrics)).await?,
    })
}

/// A socket on an address that other processes of the role may serve too.
fn shared(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    #[cfg(unix)]
    socket.set_reuseport(true)?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}
