//! What the clearing centre serves beside its own interface: the files of institutions over the clearing
//! transport (JT/T 978.4, frames 4001 to 4008) under TLS with their certificates, and its metrics, in the clear and
//! for this machine only.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tsm_services::clearing::{
    Clearing, FileServer, Protection, TransportSettings, metrics_router, serve_files,
};

use super::plan::{CityPlan, Role};

/// Where the centre serves files and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CentreLines {
    /// The clearing transport.
    pub files: SocketAddr,
    /// `GET /metrics`.
    pub metrics: SocketAddr,
}

/// The sockets of these lines.
pub struct CentreSockets {
    /// The clearing transport.
    pub files: TcpListener,
    /// The metrics.
    pub metrics: TcpListener,
}

impl CentreSockets {
    /// On ports that are free.
    pub async fn anywhere() -> std::io::Result<Self> {
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        Ok(Self { files: free().await?, metrics: free().await? })
    }

    /// On these ports, and on free ones where they are taken.
    pub async fn near(lines: Option<CentreLines>) -> std::io::Result<Self> {
        let Some(lines) = lines else { return Self::anywhere().await };
        let near = async |address| match TcpListener::bind(address).await {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
            }
            listening => listening,
        };
        Ok(Self { files: near(lines.files).await?, metrics: near(lines.metrics).await? })
    }

    /// Where they are.
    pub fn lines(&self) -> std::io::Result<CentreLines> {
        Ok(CentreLines { files: self.files.local_addr()?, metrics: self.metrics.local_addr()? })
    }
}

/// The lines as they are served; they end with it.
pub struct ServedLines {
    /// Where.
    pub lines: CentreLines,
    _files: FileServer,
    _metrics: oneshot::Sender<()>,
}

/// Serves files and metrics of this centre.
pub fn serve(
    plan: &CityPlan,
    centre: &Arc<Clearing>,
    sockets: CentreSockets,
) -> Result<ServedLines, Box<dyn std::error::Error>> {
    let lines = sockets.lines()?;
    if !lines.metrics.ip().is_loopback() {
        return Err(format!("metrics ask for no identity, so {} is no place for them", lines.metrics).into());
    }
    let tls = plan.role(Role::Clearing).identity()?.server_config(&plan.trust()?)?;
    let settings = TransportSettings { protection: Protection::Tls(tls), keys: BTreeMap::new() };
    let files = serve_files(centre.clone(), sockets.files, settings)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let router = metrics_router(centre.clone());
    tokio::spawn(async move {
        tokio::select! {
            served = axum::serve(sockets.metrics, router).into_future() => {
                if let Err(error) = served {
                    tracing::warn!(%error, "the centre's metrics ended");
                }
            }
            _ = stopped => {}
        }
    });
    Ok(ServedLines { lines, _files: files, _metrics: stop })
}
