//! The live page of `opentsm up`: what the city is doing, for a person to look at. It only reads.
//!
//! The pages are made on the server in English and Chinese, and brought up to date by server-sent events; without
//! script they are complete and can be loaded again. They are served on this machine only, load nothing from
//! anywhere else, and show what the roles' own interfaces tell: no role's store is opened.

mod card;
mod city;
mod data;
mod frame;
pub mod traffic;
mod words;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use futures_util::stream::{self, Stream};
use maud::Markup;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tsm_services::explain::Language;
use uuid::Uuid;

use crate::city::CityError;
use crate::city::in_step;
use crate::city::plan::CityPlan;
use data::{Source, Wanted};
use traffic::Streets;

/// Where the page is served, unless that port is taken.
const PORT: u16 = 8600;

/// How often a page that is looked at is made anew.
const BEAT: Duration = Duration::from_millis(1_000);

/// Only this server's own style, script and events; nothing may frame the page.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// A page that is served.
pub struct LivePage {
    /// Where.
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
}

impl LivePage {
    /// Serves the page of this city.
    pub async fn open(plan: &CityPlan, streets: Arc<Streets>) -> Result<Self, CityError> {
        let step = "serving the live page";
        let source = Arc::new(Source::of(plan, streets)?);
        let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(in_step(step))?,
        };
        let address = listener.local_addr().map_err(in_step(step))?;
        let (stop, stopped) = oneshot::channel::<()>();
        let router = router(source);
        tokio::spawn(async move {
            tokio::select! {
                served = axum::serve(listener, router).into_future() => {
                    if let Err(error) = served {
                        tracing::warn!(%error, "the live page ended");
                    }
                }
                // Streams of events have no end of their own.
                _ = stopped => {}
            }
        });
        Ok(Self { address, stop })
    }

    /// Stops serving.
    pub fn close(self) {
        let _ = self.stop.send(());
    }
}

fn router(source: Arc<Source>) -> Router {
    Router::new()
        .route("/", get(city_page))
        .route("/cards/{account}", get(card_page))
        .route("/events", get(events))
        .route("/style.css", get(|| async { asset("text/css; charset=utf-8", include_str!("style.css")) }))
        .route("/live.js", get(|| async { asset("text/javascript; charset=utf-8", include_str!("live.js")) }))
        .layer(middleware::from_fn(guard))
        .with_state(source)
}

/// A page elsewhere whose name leads to this machine may not read this one, and no answer may be kept.
async fn guard(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if !["127.0.0.1", "localhost", "[::1]"].contains(&name) {
        return StatusCode::MISDIRECTED_REQUEST.into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response()
}

#[derive(Debug, Default, Deserialize)]
struct Asked {
    lang: Option<String>,
    card: Option<Uuid>,
    page: Option<usize>,
    ending: Option<String>,
}

impl Asked {
    fn wanted(&self) -> Wanted {
        let digits = |ending: &&String| ending.len() >= 4 && ending.bytes().all(|byte| byte.is_ascii_digit());
        Wanted { page: self.page.unwrap_or(1), ending: self.ending.as_ref().filter(digits).cloned() }
    }
}

/// The city's page as somebody wants to see it.
async fn city_as(source: &Source, wanted: &Wanted, language: Language) -> Result<Markup, CityError> {
    let (seen, cards) = (source.city().await?, source.cards(wanted).await?);
    Ok(city::content(&seen, &cards, wanted, language))
}

/// The language that was asked for: in the address, else by the browser.
fn language(asked: &Asked, headers: &HeaderMap) -> Language {
    let accepted = headers.get("accept-language").and_then(|value| value.to_str().ok()).unwrap_or_default();
    match asked.lang.as_deref() {
        Some("zh") => Language::Chinese,
        Some("en") => Language::English,
        _ if accepted.trim_start().starts_with("zh") => Language::Chinese,
        _ => Language::English,
    }
}

async fn city_page(State(source): State<Arc<Source>>, asked: Query<Asked>, headers: HeaderMap) -> Response {
    let language = language(&asked, &headers);
    let wanted = asked.wanted();
    match city_as(&source, &wanted, language).await {
        Ok(content) => {
            page(frame::page(language, words::title(language), &frame::Place::City(wanted), &content))
        }
        Err(error) => trouble(language, &error),
    }
}

async fn card_page(
    State(source): State<Arc<Source>>,
    Path(account): Path<Uuid>,
    asked: Query<Asked>,
    headers: HeaderMap,
) -> Response {
    let language = language(&asked, &headers);
    match source.card(account).await {
        Ok(Some(facts)) => {
            let content = card::content(&facts, language);
            page(frame::page(language, &facts.card, &frame::Place::Card(account), &content))
        }
        Ok(None) => {
            let nowhere = frame::Place::City(Wanted::default());
            let missing = frame::page(language, words::title(language), &nowhere, &card::unknown(language));
            (StatusCode::NOT_FOUND, page(missing)).into_response()
        }
        Err(error) => trouble(language, &error),
    }
}

fn page(markup: Markup) -> Response {
    Html(markup.into_string()).into_response()
}

fn trouble(language: Language, error: &CityError) -> Response {
    tracing::warn!(%error, "the live page could not be made");
    let content = frame::trouble(language, error);
    let nowhere = frame::Place::City(Wanted::default());
    (StatusCode::BAD_GATEWAY, page(frame::page(language, words::title(language), &nowhere, &content)))
        .into_response()
}

/// The changing part of a page, each time that it has changed.
async fn events(
    State(source): State<Arc<Source>>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let language = language(&asked, &headers);
    let (card, wanted) = (asked.card, asked.wanted());
    let changes = stream::unfold(String::new(), move |shown| {
        let (source, wanted) = (source.clone(), wanted.clone());
        async move {
            loop {
                tokio::time::sleep(BEAT).await;
                let made = match card {
                    None => city_as(&source, &wanted, language).await.ok(),
                    Some(account) => {
                        source.card(account).await.ok().flatten().map(|facts| card::content(&facts, language))
                    }
                };
                match made.map(Markup::into_string) {
                    Some(made) if made != shown => {
                        let event = Event::default().event("content").data(made.replace(['\r', '\n'], " "));
                        return Some((Ok(event), made));
                    }
                    // The same, or the city did not answer: what is shown stays.
                    Some(_) | None => {}
                }
            }
        }
    });
    Sse::new(changes).keep_alive(KeepAlive::default())
}
