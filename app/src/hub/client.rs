//! Requests to the hub: one place that decides where the token goes, how long is waited, and which redirects are followed.
//!
//! <https://huggingface.co/docs/hub/api>

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use guanaco_engine::error::Printable;
use ureq::http::{HeaderMap, Uri, header};
use ureq::{Agent, Body};

use super::cache::{home, variable};

/// The hub, unless `HF_ENDPOINT` names another server.
const ENDPOINT: &str = "https://huggingface.co";
/// Redirects that one request may take: the hub's own take two.
const MAX_REDIRECTS: usize = 5;
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(30);
/// How long the server may say nothing.
const SILENCE: Duration = Duration::from_secs(60);
/// The largest description of a model: thousands of files.
const MAX_JSON: u64 = 16 << 20;

/// A server, and who asks it.
pub struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the token.
        f.debug_struct("Client").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// What went wrong with a request, and whether trying again could help.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: anyhow::Error,
    pub(super) may_pass: bool,
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Self { error, may_pass: false }
    }
}

/// An answer, after all redirects.
pub(super) struct Answer {
    pub(super) status: u16,
    /// Of the answer itself, and below them those of the redirects that led to it.
    headers: Vec<HeaderMap>,
    pub(super) body: Body,
}

impl Answer {
    /// A header of the first answer that has it, redirects first: they speak of the file, the last server only of its bytes.
    pub(super) fn first(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|headers| headers.get(name)?.to_str().ok())
    }

    /// A header of the last answer.
    pub(super) fn last(&self, name: &str) -> Option<&str> {
        self.headers.last()?.get(name)?.to_str().ok()
    }
}

impl Client {
    /// The client that the environment describes: `HF_ENDPOINT`; `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN` or the file in which the
    /// hub's programs keep the token. It opens no connection yet.
    ///
    /// # Errors
    /// When an address or a token cannot be one.
    pub fn from_env() -> anyhow::Result<Self> {
        let endpoint = match variable("HF_ENDPOINT") {
            Some(endpoint) => endpoint.into_string().ok().context("HF_ENDPOINT is not UTF-8")?,
            None => ENDPOINT.to_owned(),
        };
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        let uri: Uri = endpoint.parse().ok().with_context(|| bad_endpoint(&endpoint))?;
        ensure!(matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some(), bad_endpoint(&endpoint));
        let config = Agent::config_builder()
            .user_agent(concat!("guanaco/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .build();
        Ok(Self { agent: config.into(), endpoint, token: token()? })
    }

    /// The server's address.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Whether there is a token, which would travel unencrypted over a network.
    pub fn token_in_the_open(&self) -> bool {
        let uri: Option<Uri> = self.endpoint.parse().ok();
        let own = |uri: &Uri| {
            uri.scheme_str() == Some("https") || matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]"))
        };
        self.token.is_some() && !uri.is_some_and(|uri| own(&uri))
    }

    /// `GET` of the JSON document at `path` of the server.
    pub(super) fn json<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, Failed> {
        let mut answer = self.send(path, None, false)?;
        let bytes = answer.body.with_config().limit(MAX_JSON).read_to_vec().map_err(|error| self.broken(error))?;
        let parsed = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} answered something else than the hub would", self.endpoint));
        Ok(parsed?)
    }

    /// `HEAD` of `path`, only for its headers.
    pub(super) fn head(&self, path: &str) -> Result<Answer, Failed> {
        self.send(path, None, true)
    }

    /// `GET` of the file at `path` from its byte `start`.
    pub(super) fn get(&self, path: &str, start: u64) -> Result<Answer, Failed> {
        self.send(path, Some(start), false)
    }

    fn send(&self, path: &str, start: Option<u64>, head: bool) -> Result<Answer, Failed> {
        let parse =
            |url: &str| url.parse::<Uri>().with_context(|| format!("\"{}\" is no address", Printable::name(url)));
        let home = parse(&self.endpoint)?;
        let mut uri = parse(&format!("{}{path}", self.endpoint))?;
        let mut headers: Vec<HeaderMap> = Vec::new();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = if head { self.agent.head(&uri) } else { self.agent.get(&uri) };
            // Nobody but the server that it is for gets the token.
            if let Some(token) = self.token.as_ref().filter(|_| same_server(&uri, &home)) {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            if let Some(start) = start.filter(|start| *start > 0) {
                request = request.header(header::RANGE, format!("bytes={start}-"));
            }
            let (parts, body) = request.call().map_err(|error| self.broken(error))?.into_parts();
            let status = parts.status.as_u16();
            headers.push(parts.headers);
            let answer = Answer { status, headers, body };
            match status {
                200 | 206 => return Ok(answer),
                301 | 302 | 303 | 307 | 308 => {
                    // The hub says what there is to know of a file before it sends its bytes from elsewhere.
                    if head && answer.first("x-linked-etag").is_some() && answer.first("x-linked-size").is_some() {
                        return Ok(answer);
                    }
                    let location = answer.last("location").context("a redirect without a location")?;
                    uri = redirected(&uri, location)?;
                    headers = answer.headers;
                }
                status => return Err(self.refused(status, &uri, &home)),
            }
        }
        Err(anyhow::anyhow!("{} redirects more than {MAX_REDIRECTS} times", self.endpoint).into())
    }

    /// A connection that did not come about, or broke.
    pub(super) fn broken(&self, error: ureq::Error) -> Failed {
        let error = anyhow::Error::new(error)
            .context(format!("no connection to {} (HF_ENDPOINT names another server)", self.endpoint));
        Failed { error, may_pass: true }
    }

    fn refused(&self, status: u16, uri: &Uri, home: &Uri) -> Failed {
        let server = if same_server(uri, home) { self.endpoint.as_str() } else { uri.host().unwrap_or_default() };
        let advice = match (status, self.token.is_some()) {
            (401 | 403, false) => {
                ": the model is private, gated, or does not exist; HF_TOKEN can hold a token that may read it (accept the \
                 model's terms on its page first)"
            }
            (401 | 403, true) => {
                ": the token of HF_TOKEN or of the token file may not read this model, or the model does not exist (accept \
                 the model's terms on its page first)"
            }
            (404, _) => ": there is no such model, revision or file",
            (429, _) => ": too many requests, try again later",
            _ => "",
        };
        let may_pass = status == 429 || status >= 500;
        Failed { error: anyhow::anyhow!("{} answered {status}{advice}", Printable::name(server)), may_pass }
    }
}

fn bad_endpoint(endpoint: &str) -> String {
    format!("HF_ENDPOINT: expected an address such as {ENDPOINT}, got \"{}\"", Printable::name(endpoint))
}

/// The user's token; None when there is none, or the environment says not to use it.
fn token() -> anyhow::Result<Option<String>> {
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).ok();
    let stored = || {
        let implicit = variable("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_none_or(|value| !is_yes(&value));
        let path = match variable("HF_TOKEN_PATH") {
            Some(path) => Some(path.into()),
            None => home().ok().map(|home| home.join("token")),
        };
        path.filter(|_| implicit).and_then(read)
    };
    let named = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"].into_iter().find_map(variable);
    let text = match named {
        Some(text) => Some(text.into_string().ok().context("HF_TOKEN is not UTF-8")?),
        None => stored(),
    };
    let Some(text) = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()) else { return Ok(None) };
    ensure!(
        text.bytes().all(|byte| byte.is_ascii_graphic()),
        "the token (HF_TOKEN, or the token file) has characters that no token has"
    );
    Ok(Some(text))
}

/// Whether the value of a switch in the environment means yes, as for the hub's other programs.
pub(super) fn is_yes(value: &std::ffi::OsStr) -> bool {
    ["1", "on", "yes", "true"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

fn same_server(one: &Uri, other: &Uri) -> bool {
    let port = |uri: &Uri| uri.port_u16().or(if uri.scheme_str() == Some("https") { Some(443) } else { Some(80) });
    one.scheme() == other.scheme() && one.host() == other.host() && port(one) == port(other)
}

/// Where `location` leads from `from`.
fn redirected(from: &Uri, location: &str) -> anyhow::Result<Uri> {
    let shown = Printable::name(location);
    let absolute = match (location.strip_prefix('/'), from.scheme_str(), from.authority()) {
        (Some(rest), Some(scheme), Some(authority)) if !rest.starts_with('/') => {
            format!("{scheme}://{authority}{location}")
        }
        _ => location.to_owned(),
    };
    let uri: Uri = absolute.parse().ok().with_context(|| format!("a redirect to \"{shown}\", which is no address"))?;
    match (from.scheme_str(), uri.scheme_str()) {
        (_, Some("https")) | (Some("http"), Some("http")) if uri.host().is_some() => Ok(uri),
        _ => bail!("a redirect to \"{shown}\", which is not an encrypted connection"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn redirects() {
        let from = uri("https://hub.example/a/b");
        assert_eq!(redirected(&from, "/c?d").unwrap(), uri("https://hub.example/c?d"));
        assert_eq!(redirected(&from, "https://cdn.example/x").unwrap(), uri("https://cdn.example/x"));
        for bad in ["http://hub.example/a", "//evil.example/a", "file:///etc/passwd", "c", "", "\u{1b}[2J"] {
            assert!(redirected(&from, bad).is_err(), "{bad:?}");
        }
        assert!(redirected(&uri("http://localhost:1/a"), "http://localhost:2/a").is_ok());
    }

    #[test]
    fn a_server_is_scheme_host_and_port() {
        let home = uri("https://hub.example");
        assert!(same_server(&uri("https://hub.example:443/a"), &home));
        for other in ["https://hub.example:444/a", "http://hub.example:443/a", "https://cdn.hub.example/a"] {
            assert!(!same_server(&uri(other), &home), "{other}");
        }
    }
}
