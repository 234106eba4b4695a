//! `funaya serve`: listeners, connections, workers, shutdown.

use std::{io::Write as _, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use funaya_oci::Content;
use funaya_ports::{Random as _, meta::Effort};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Mutex, watch},
    time::{Instant, MissedTickBehavior},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    body::{self, Outgoing},
    control,
    data::{Data, Failed},
    heads::{Heads, Watched},
    house::House,
    settings::{Scrub, Settings},
    tls,
    world::SystemRandom,
};

/// A client must have sent its headers, or ended its handshake, within this.
const HEADERS_MAX: Duration = Duration::from_secs(10);
/// Longest head of a request, and most bytes that wait for a door, of one connection.
const BUFFER_MAX: usize = 330 * 1024;
/// A client that takes nothing for so long is given up.
const SEND_IDLE_MAX: u32 = 60_000;
/// Open requests may go on for so long after a signal to stop.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// A change of access on another replica acts within a second.
const ACCESS_EVERY: Duration = Duration::from_millis(500);
/// Rounds of that after which uses of keys are stored.
const USES_EVERY: u32 = 10;
/// How often due lifecycle policies are looked for.
const LIFECYCLE_LOOK: Duration = Duration::from_secs(1);
/// After a start the first scrub begins after this, or sooner.
const SCRUB_FIRST: Duration = Duration::from_secs(3600);
/// A server that was not seen for so long does not count for the rates.
const REPLICA_KEPT: Duration = Duration::from_secs(15);
const AUDIT_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// Threads for disk work; each upload and cold read uses one at a time.
const BLOCKING_THREADS: usize = 32;

pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(BLOCKING_THREADS).build()
}

pub(crate) fn run(settings: Settings) -> Result<ExitCode, Failed> {
    start_log(&settings)?;
    runtime()?.block_on(serve(settings))
}

fn start_log(settings: &Settings) -> Result<(), Failed> {
    use tracing_subscriber::{filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _};
    let wrong = |_| format!("`log`: `{}` is not a filter such as info or warn,funaya=debug", settings.log);
    let filter: Targets = settings.log.parse().map_err(wrong)?;
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if settings.log_json {
        tracing_subscriber::registry().with(filter).with(layer.json()).init();
    } else {
        let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
        tracing_subscriber::registry().with(filter).with(layer.with_ansi(colours)).init();
    }
    Ok(())
}

async fn serve(settings: Settings) -> Result<ExitCode, Failed> {
    let acceptor = settings.tls.clone().map(|(cert, key)| tls::acceptor(cert, key)).transpose()?;
    let data = Data::open(&settings).await?;
    let mut listeners = Vec::new();
    for address in &settings.listen {
        let bound = TcpListener::bind(address).await;
        listeners.push(bound.map_err(|error| format!("can't listen on {address}: {error}"))?);
    }
    let scheme = if acceptor.is_some() { "https" } else { "http" };
    let urls: Vec<String> = listeners
        .iter()
        .map(|listener| listener.local_addr().map(|address| format!("{scheme}://{address}")))
        .collect::<Result<_, _>>()?;
    let public_url = settings.public_url.clone().unwrap_or_else(|| reachable(&urls));
    let (house, audit_writer) = House::build(&settings, data, public_url)?;
    let house = Arc::new(house);
    let (stop, stopped) = watch::channel(false);
    let audit = tokio::spawn(audit_writer.run(house.data.meta.clone(), wait(stopped.clone())));
    tokio::spawn(upkeep(house.clone(), settings.gc_interval, stopped.clone()));
    tokio::spawn(lifecycles(house.clone(), settings.lifecycle_interval, stopped.clone()));
    tokio::spawn(scrubs(house.clone(), settings.scrub, stopped.clone()));
    let access = tokio::spawn(access(house.clone(), stopped.clone()));
    control::listen(house.clone(), &settings)?;
    let graceful = Arc::new(GracefulShutdown::new());
    let accepting: Vec<_> = listeners
        .into_iter()
        .map(|listener| {
            tokio::spawn(accept(listener, house.clone(), acceptor.clone(), graceful.clone(), stopped.clone()))
        })
        .collect();
    let mut out = std::io::stdout();
    for url in &urls {
        writeln!(out, "funaya ready on {url}")?;
    }
    out.flush()?;
    signal().await?;
    tracing::info!("stopping: open requests may go on for {} s", DRAIN_MAX.as_secs());
    stop.send(true)?;
    for task in accepting {
        task.await?;
    }
    if let Some(graceful) = Arc::into_inner(graceful)
        && tokio::time::timeout(DRAIN_MAX, graceful.shutdown()).await.is_err()
    {
        tracing::warn!("some requests were cut off");
    }
    audit.await?;
    access.await?;
    control::remove(&house.data.folder);
    Ok(ExitCode::SUCCESS)
}

/// The first URL, with a name for an address that stands for all.
fn reachable(urls: &[String]) -> String {
    let url = urls.first().map_or("http://localhost:5000", String::as_str);
    url.replace("://0.0.0.0:", "://localhost:").replace("://[::]:", "://localhost:")
}

async fn wait(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone: stop as well.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Evaluates lifecycle policies that are due.
async fn lifecycles(house: Arc<House>, every: Duration, stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = wait(stopped.clone()) => return,
            () = tokio::time::sleep(LIFECYCLE_LOOK) => {}
        }
        let run = house.hall.run_lifecycles(house.gate.upkeep(), every, house.gate.now()).await;
        if run.policies + run.failed > 0 {
            tracing::info!(
                policies = run.policies,
                expired = run.expired,
                failed = run.failed,
                "lifecycle policies ran"
            );
        }
    }
}

/// Reads everything that is stored, slowly, again and again: what is damaged is told, and mended by the next push.
async fn scrubs(house: Arc<House>, scrub: Scrub, stopped: watch::Receiver<bool>) {
    if scrub.every.is_zero() {
        return;
    }
    let due = Arc::new(Mutex::new(Instant::now()));
    let pace = |bytes| -> funaya_ports::Fut<'static, ()> {
        let due = due.clone();
        Box::pin(async move {
            let mut due = due.lock().await;
            *due = (*due).max(Instant::now()) + Duration::from_secs_f64(bytes as f64 / scrub.bytes_per_second);
            tokio::time::sleep_until(*due).await;
        })
    };
    let mut wait_for = scrub.every.min(SCRUB_FIRST);
    loop {
        tokio::select! {
            () = wait(stopped.clone()) => return,
            () = tokio::time::sleep(wait_for) => {}
        }
        wait_for = scrub.every;
        let (hall, permit) = (&house.hall, house.gate.upkeep());
        let damaged = |fault| tracing::error!(%fault, "damaged");
        let pass = async {
            let blobs = hall.scrub(permit, &pace, damaged).await?;
            Ok::<_, funaya_registry::Error>((blobs, hall.verify_manifests(permit, &pace, damaged).await?))
        };
        tokio::select! {
            () = wait(stopped.clone()) => return,
            done = pass => match done {
                Ok((blobs, manifests)) => tracing::info!(blobs, manifests, "scrubbed"),
                Err(error) => tracing::error!(cause = %error.detail(), "the scrub failed"),
            },
        }
    }
}

/// Looks for other replicas' changes of access, and stores when keys were used and images pulled.
async fn access(house: Arc<House>, stopped: watch::Receiver<bool>) {
    let id = SystemRandom.uuid();
    let mut rounds = 0u32;
    loop {
        let stopping = tokio::select! {
            () = wait(stopped.clone()) => true,
            () = tokio::time::sleep(ACCESS_EVERY) => false,
        };
        if let Err(error) = house.data.identities.refresh().await {
            tracing::error!(%error, "changes of access can't be looked for");
        }
        rounds = rounds.wrapping_add(1);
        if stopping || rounds.is_multiple_of(USES_EVERY) {
            if let Err(error) = house.hall.store_pulls(house.gate.upkeep()).await {
                tracing::error!(cause = %error.detail(), "times of pulls can't be stored");
            }
            let (now, since) = (house.gate.now(), house.gate.now().minus(REPLICA_KEPT));
            match house.data.meta.note_replica(&id, now, since).await {
                Ok(servers) => house.gate.share_rates(servers),
                Err(error) => tracing::error!(%error, "the servers on this database can't be counted"),
            }
            let uses = house.gate.take_uses();
            if !uses.is_empty()
                && let Err(error) = house.data.identities.note_use(uses).await
            {
                tracing::error!(%error, "uses of access keys can't be stored");
            }
        }
        if stopping {
            return;
        }
    }
}

/// The collector and the pruning of old audit records.
async fn upkeep(house: Arc<House>, every: Duration, stopped: watch::Receiver<bool>) {
    let mut times = tokio::time::interval_at(Instant::now() + every, every);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = wait(stopped.clone()) => return,
            _ = times.tick() => {}
        }
        let (now, permit) = (house.gate.now(), house.gate.upkeep());
        // What can't be done gently within a quarter of the interval is done in haste: it must not fall behind.
        let begun = Instant::now();
        let effort = || if begun.elapsed() < every / 4 { Effort::Gentle } else { Effort::Brisk };
        match house.hall.collect(permit, now, effort).await {
            Ok(tidied) if tidied.is_empty() => {}
            Ok(tidied) => tracing::info!(
                tombstones = tidied.tombstones,
                links = tidied.links,
                blobs = tidied.blobs,
                uploads = tidied.uploads,
                objects = tidied.objects,
                "collected"
            ),
            Err(error) => tracing::error!(%error, "the collector failed"),
        }
        if let Err(error) = house.hall.prune_audit(permit, now.minus(AUDIT_KEPT)).await {
            tracing::error!(%error, "old audit records can't be dropped");
        }
    }
}

async fn accept(
    listener: TcpListener,
    house: Arc<House>,
    acceptor: Option<TlsAcceptor>,
    graceful: Arc<GracefulShutdown>,
    stopped: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            () = wait(stopped.clone()) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let watcher = graceful.watcher();
                tokio::spawn(connection(stream, peer, house.clone(), acceptor.clone(), watcher));
            }
            Err(error) => {
                // Out of file descriptors, most likely: connections that end free some.
                tracing::warn!(%error, "can't accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    house: Arc<House>,
    acceptor: Option<TlsAcceptor>,
    watcher: hyper_util::server::graceful::Watcher,
) {
    // Neither is needed for a connection to work.
    let _ = stream.set_nodelay(true);
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, SEND_IDLE_MAX);
    let Some(acceptor) = acceptor else { return http1(stream, peer, false, house, watcher).await };
    let Ok(Ok(stream)) = tokio::time::timeout(HEADERS_MAX, acceptor.accept(stream)).await else { return };
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        http2(stream, peer, house, watcher).await;
    } else {
        http1(stream, peer, true, house, watcher).await;
    }
}

async fn http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: SocketAddr,
    secure: bool,
    house: Arc<House>,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let heads = Heads::new(BUFFER_MAX);
    let stream = TokioIo::new(Watched::new(stream, heads.clone()));
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (house, heads) = (house.clone(), heads.clone());
        async move {
            if !heads.length_is_clear(request.headers()) {
                return Ok(unclear());
            }
            let response = answer(request, peer, secure, house).await;
            heads.answered();
            response
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_MAX)
        .max_buf_size(BUFFER_MAX)
        .serve_connection(stream, service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, %peer, "a connection ended");
    }
}

/// The answer to a request with two lengths: as bare as hyper's own to heads that it can't read.
fn unclear() -> http::Response<Outgoing> {
    let mut response = http::Response::new(Outgoing::from(Content::Whole(bytes::Bytes::new())));
    *response.status_mut() = http::StatusCode::BAD_REQUEST;
    response.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
    response
}

async fn http2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: SocketAddr,
    house: Arc<House>,
    watcher: hyper_util::server::graceful::Watcher,
) {
    const WINDOW: u32 = 1024 * 1024;
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(20)))
        .keep_alive_timeout(Duration::from_secs(20))
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(4 * WINDOW)
        .max_frame_size(256 * 1024)
        .max_concurrent_streams(128)
        .serve_connection(TokioIo::new(stream), service_fn(move |request| answer(request, peer, true, house.clone())));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, %peer, "a connection ended");
    }
}

async fn answer(
    request: http::Request<Incoming>,
    peer: SocketAddr,
    secure: bool,
    house: Arc<House>,
) -> Result<http::Response<Outgoing>, std::convert::Infallible> {
    let (head, body) = request.into_parts();
    let (body, leftover) = body::incoming(body);
    let response = house.answer(http::Request::from_parts(head, body), peer.ip(), secure).await;
    if response.status().is_client_error() || response.status().is_server_error() {
        leftover.drain().await;
    }
    Ok(response.map(Outgoing::from))
}
