//! Connections to one server that wait for another request.

use std::{
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    net::{TcpStream, lookup_host},
    time::Instant,
};
use url::{Host, Url};

use super::connection::Connection;

/// Most connections that are kept; more requests at once than this have connections that close after them.
const KEPT: usize = 1024;
/// Longest time that one is kept: servers close theirs sooner or later, and a closed one costs an attempt.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// The connections to one server.
pub(crate) struct Pool {
    place: Place,
    /// The one that was used last at the end, with the time when it was.
    idle: Mutex<Vec<(Instant, Box<Connection>)>>,
}

/// Where a server is.
enum Place {
    Address(std::net::SocketAddr),
    Name(String, u16),
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl Pool {
    /// For the server of a URL; none if it names none.
    pub(crate) fn new(url: &Url) -> Option<Self> {
        let port = url.port_or_known_default()?;
        let place = match url.host()? {
            Host::Ipv4(address) => Place::Address((address, port).into()),
            Host::Ipv6(address) => Place::Address((address, port).into()),
            Host::Domain(name) => Place::Name(name.to_owned(), port),
        };
        Some(Self { place, idle: Mutex::default() })
    }

    /// One that waits, the last used first, so that those that nobody needs grow old.
    pub(super) fn take(&self) -> Option<Box<Connection>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, connection) = idle.pop()?;
        if since.elapsed() <= KEPT_FOR {
            return Some(connection);
        }
        // All others wait for longer.
        idle.clear();
        None
    }

    /// Keeps one, if it can be used again.
    pub(super) fn put(&self, connection: Box<Connection>) {
        if !connection.is_ready() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let old = idle.iter().take_while(|(since, _)| now.duration_since(*since) > KEPT_FOR);
        let old = old.count();
        if old > 0 {
            idle.drain(..old);
        }
        if idle.len() < KEPT {
            idle.push((now, connection));
        }
    }

    /// A new one.
    ///
    /// # Errors
    /// The name is not known, or nobody listens there.
    pub(super) async fn connect(&self) -> io::Result<TcpStream> {
        let stream = match &self.place {
            Place::Address(address) => TcpStream::connect(address).await?,
            Place::Name(name, port) => {
                // Each of its addresses is tried.
                let addresses: Vec<_> = lookup_host((name.as_str(), *port)).await?.collect();
                TcpStream::connect(&*addresses).await?
            }
        };
        // A connection that is not sped up still works.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}
