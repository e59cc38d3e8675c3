//! A hub of one model on this machine: what <https://huggingface.co/docs/hub/api> says of lists and files, with faults on demand.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

/// The commit that `main` is at.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// Longer than any case takes, and short enough that a hang is a failure.
const PATIENCE: Duration = Duration::from_secs(30);
/// Files from here on are large ones, whose ETag is their sum.
const LARGE: usize = 50_000;

/// What the hub has and how it misbehaves.
#[derive(Clone, Default)]
pub(crate) struct Setup {
    /// `owner/name`.
    pub(crate) model: String,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// What requests must bring.
    pub(crate) token: Option<String>,
    /// The list has names alone, as mirrors have it.
    pub(crate) bare_list: bool,
    /// Answers with large files end after as many bytes.
    pub(crate) cut: Option<usize>,
    /// After the cut the connection stays open, silent.
    pub(crate) hang: bool,
    /// Large files are sent with one byte changed.
    pub(crate) damaged: bool,
    /// `Range` is ignored.
    pub(crate) no_ranges: bool,
    /// Large files lie on this server.
    pub(crate) elsewhere: Option<SocketAddr>,
    /// The ETag of every file.
    pub(crate) etag: Option<String>,
}

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) range: Option<usize>,
    pub(crate) authorization: Option<String>,
    /// Bytes of the body that were sent.
    pub(crate) sent: usize,
}

/// The running server.
pub(crate) struct Hub {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    setup: Arc<Mutex<Setup>>,
    stop: Arc<AtomicBool>,
}

fn held<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Hub {
    pub(crate) fn start(setup: Setup) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (requests, setup) = (Arc::<Mutex<Vec<Request>>>::default(), Arc::new(Mutex::new(setup)));
        let stop = Arc::new(AtomicBool::new(false));
        let (log, now, end) = (requests.clone(), setup.clone(), stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), log, setup) = (stream, log.clone(), held(&now).clone()) else { continue };
                // A client that leaves early is no fault.
                std::thread::spawn(move || drop(serve(&stream, &setup, &log)));
            }
        });
        Ok(Self { address, requests, setup, stop })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes what the next requests meet.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Setup)) {
        change(&mut held(&self.setup));
    }

    /// The requests since the last call.
    pub(crate) fn take(&self) -> Vec<Request> {
        std::mem::take(&mut held(&self.requests))
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

fn serve(mut stream: &TcpStream, setup: &Setup, log: &Mutex<Vec<Request>>) -> anyhow::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().context("no request")??;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().context("no method")?, words.next().context("no path")?);
    let mut request = Request { method, path, range: None, authorization: None, sent: 0 };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => request.authorization = Some(value.trim().to_owned()),
            "range" => {
                request.range = value.trim().strip_prefix("bytes=").and_then(|r| r.trim_end_matches('-').parse().ok())
            }
            _ => {}
        }
    }
    let (head, body) = answer(&request, setup);
    let large = body.len() >= LARGE;
    let cut = setup.cut.filter(|_| large).unwrap_or(body.len()).min(body.len());
    request.sent = if request.method == "HEAD" { 0 } else { cut };
    let body = body.get(..request.sent).unwrap_or_default().to_vec();
    held(log).push(request);
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)?;
    stream.flush()?;
    if setup.hang && large {
        std::thread::sleep(PATIENCE);
    }
    Ok(())
}

fn status(line: &str) -> (String, Vec<u8>) {
    (format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), Vec::new())
}

fn answer(request: &Request, setup: &Setup) -> (String, Vec<u8>) {
    if let Some(name) = request.path.strip_prefix("/elsewhere/") {
        return file(name, request, setup);
    }
    if setup.token.as_ref().is_some_and(|token| request.authorization != Some(format!("Bearer {token}"))) {
        return status("401 Unauthorized");
    }
    let list = format!("/api/models/{}/revision/main", setup.model);
    if request.path.split('?').next() == Some(&list) {
        let body = self::list(setup).into_bytes();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        return (head, body);
    }
    let files = format!("/{}/resolve/{COMMIT}/", setup.model);
    match request.path.strip_prefix(&files) {
        Some(name) => file(name, request, setup),
        None => status("404 Not Found"),
    }
}

/// The ETag of a file: the sum of a large one, else 40 digits as git's.
pub(crate) fn etag(bytes: &[u8]) -> String {
    let mut sum = sha256(bytes);
    sum.truncate(if bytes.len() >= LARGE { 64 } else { 40 });
    sum
}

fn list(setup: &Setup) -> String {
    let sibling = |(name, bytes): (&String, &Vec<u8>)| {
        let etag = etag(bytes);
        match (setup.bare_list, bytes.len() >= LARGE) {
            (true, _) => serde_json::json!({"rfilename": name}),
            (false, false) => serde_json::json!({"rfilename": name, "size": bytes.len(), "blobId": etag}),
            (false, true) => serde_json::json!({"rfilename": name, "size": bytes.len(), "blobId": "0".repeat(40),
                "lfs": {"sha256": etag, "size": bytes.len(), "pointerSize": 134}}),
        }
    };
    let siblings: Vec<_> = setup.files.iter().map(sibling).collect();
    serde_json::json!({"id": setup.model, "sha": COMMIT, "siblings": siblings}).to_string()
}

fn file(name: &str, request: &Request, setup: &Setup) -> (String, Vec<u8>) {
    let Some(bytes) = setup.files.get(name) else { return status("404 Not Found") };
    let large = bytes.len() >= LARGE;
    let etag = setup.etag.clone().unwrap_or_else(|| etag(bytes));
    let mut head = format!("ETag: \"{etag}\"\r\nX-Repo-Commit: {COMMIT}\r\nConnection: close\r\n");
    if large {
        head += &format!("X-Linked-Etag: \"{etag}\"\r\nX-Linked-Size: {}\r\n", bytes.len());
    }
    if let Some(elsewhere) = setup.elsewhere.filter(|_| large && !request.path.starts_with("/elsewhere/")) {
        let head = format!(
            "HTTP/1.1 302 Found\r\nLocation: http://{elsewhere}/elsewhere/{name}\r\nContent-Length: 0\r\n{head}\r\n"
        );
        return (head, Vec::new());
    }
    let mut body = bytes.clone();
    if let Some(byte) = body.get_mut(bytes.len() / 2).filter(|_| setup.damaged && large) {
        *byte ^= 1;
    }
    let start = request.range.filter(|start| !setup.no_ranges && *start < body.len());
    let line = match start {
        Some(start) => {
            head += &format!("Content-Range: bytes {start}-{}/{}\r\n", body.len() - 1, body.len());
            body.drain(..start);
            "206 Partial Content"
        }
        None => "200 OK",
    };
    (format!("HTTP/1.1 {line}\r\nContent-Length: {}\r\n{head}\r\n", body.len()), body)
}
