//! Listens, and serves connections until told to stop.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyarch_store::Store;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::handler::{Handler, handler, handler_with};
use super::options::{Limits, Options};
use super::patient::Patient;
use super::tls::Tls;

/// How long requests in progress may take to end at a shutdown.
const GRACE: Duration = Duration::from_secs(10);
/// Wait after a connection could not be accepted, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why a server does not come up.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The address cannot be listened at.
    #[error("failed to listen at {address}")]
    Bind {
        /// The address.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The threads cannot be started.
    #[error("failed to start the server")]
    Start {
        /// Why not.
        source: io::Error,
    },
}

impl ServeError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            ServeError::Bind { source, .. } => match source.kind() {
                io::ErrorKind::AddrInUse => Some(
                    "another program listens there; name another port, or 0 for any that is free"
                        .to_owned(),
                ),
                io::ErrorKind::PermissionDenied => {
                    Some("ports below 1024 need privileges; name a higher one".to_owned())
                }
                _ => None,
            },
            ServeError::Start { .. } => None,
        }
    }
}

/// A server that listens and does not answer yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    answering: Answering,
}

/// How connections are answered.
#[derive(Clone)]
struct Answering {
    handler: Handler,
    tls: Option<Tls>,
    limits: Limits,
}

/// A server that answers in the background; dropping it ends it at once.
pub struct RunningServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    /// Behind a lock only so that the server can be shared between threads.
    ended: Mutex<mpsc::Receiver<()>>,
    runtime: Option<Runtime>,
}

impl Server {
    /// Listens at `address` (port 0: any free one) to serve `store`.
    pub fn bind(
        address: impl ToSocketAddrs + ToString,
        store: Store,
    ) -> Result<Server, ServeError> {
        Server::with_handler(address, handler(store, None))
    }

    /// The same with accounts, TLS and what else `options` say.
    pub fn bind_with(
        address: impl ToSocketAddrs + ToString,
        store: Store,
        options: Options,
    ) -> Result<Server, ServeError> {
        let handler = handler_with(store, &options);
        Server::listen(address, handler, options.tls, options.limits)
    }

    /// Listens at `address` to answer with any handler.
    pub fn with_handler(
        address: impl ToSocketAddrs + ToString,
        handler: Handler,
    ) -> Result<Server, ServeError> {
        Server::listen(address, handler, None, Limits::default())
    }

    fn listen(
        address: impl ToSocketAddrs + ToString,
        handler: Handler,
        tls: Option<Tls>,
        limits: Limits,
    ) -> Result<Server, ServeError> {
        let failed = |source| ServeError::Bind { address: address.to_string(), source };
        let listener = TcpListener::bind(&address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let answering = Answering { handler, tls, limits };
        Ok(Server { listener, address: bound, answering })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Begins to answer on threads of its own.
    pub fn serve_in_background(self) -> Result<RunningServer, ServeError> {
        let failed = |source| ServeError::Start { source };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("registry")
            .enable_all()
            .build()
            .map_err(failed)?;
        let listener = {
            let _context = runtime.enter();
            tokio::net::TcpListener::from_std(self.listener).map_err(failed)?
        };
        let (stop, stopped) = watch::channel(false);
        let (end, ended) = mpsc::channel();
        runtime.spawn(accept(listener, self.answering, stopped, end));
        Ok(RunningServer {
            address: self.address,
            stop,
            ended: Mutex::new(ended),
            runtime: Some(runtime),
        })
    }
}

impl RunningServer {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening, lets requests in progress end (for ten seconds at most), and ends. True
    /// where all of them ended.
    pub fn shutdown(mut self) -> bool {
        self.stop.send_replace(true);
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        let all_ended = ended.recv_timeout(GRACE).is_ok();
        if let Some(runtime) = self.runtime.take() {
            match all_ended {
                // Waits for the tasks to be dropped, and with them their hold on the store.
                true => runtime.shutdown_timeout(GRACE),
                false => runtime.shutdown_background(),
            }
        }
        all_ended
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(
    listener: tokio::net::TcpListener,
    answering: Answering,
    mut stopped: watch::Receiver<bool>,
    end: mpsc::Sender<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        let has_room = connections.len() < answering.limits.connections;
        tokio::select! {
            accepted = listener.accept(), if has_room => match accepted {
                Ok((stream, _peer)) => {
                    connections.spawn(serve(stream, answering.clone(), stopped.clone()));
                }
                Err(_try_again) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_ended) = connections.join_next() => {}
            _ = stopped.changed() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    // Nobody waits where the server was dropped.
    end.send(()).unwrap_or_default();
}

/// Answers one connection, which ends with its client, with the server, or when patience does.
async fn serve(
    stream: tokio::net::TcpStream,
    answering: Answering,
    mut stopped: watch::Receiver<bool>,
) {
    // Only a matter of latency.
    stream.set_nodelay(true).unwrap_or_default();
    let patience = answering.limits.patience;
    let stream = Patient::new(stream, patience);
    match answering.tls {
        None => exchange(stream, answering.handler, patience, stopped).await,
        Some(Tls(config)) => {
            let handshake = TlsAcceptor::from(config).accept(stream);
            let stream = tokio::select! {
                shaken = tokio::time::timeout(patience, handshake) => shaken,
                _ = stopped.changed() => return,
            };
            // Who does not speak TLS has been told so by an alert.
            let Ok(Ok(stream)) = stream else { return };
            exchange(stream, answering.handler, patience, stopped).await;
        }
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    handler: Handler,
    patience: Duration,
    mut stopped: watch::Receiver<bool>,
) {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        handler(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // A connection that ends in an error has ended; its client knows.
    let _ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
}
