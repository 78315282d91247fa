//! Where Envoys connect: an address, or a socket file that only its owner may open.

use std::{
    fmt,
    fs::{self, Permissions},
    io::{self, ErrorKind},
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    str::FromStr,
};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixSocket, UnixStream};

/// Connections to a unix socket that wait to be accepted.
const BACKLOG: u32 = 128;

/// Where Envoys connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum XdsListen {
    /// An address; port 0 picks one.
    Tcp(SocketAddr),
    /// A socket file. Only its owner may connect.
    Unix(PathBuf),
}

impl fmt::Display for XdsListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            XdsListen::Tcp(address) => address.fmt(f),
            XdsListen::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for XdsListen {
    type Err = String;

    /// `ADDRESS:PORT`, or `unix:PATH`.
    fn from_str(text: &str) -> Result<XdsListen, String> {
        match text.strip_prefix("unix:") {
            Some("") => Err("`unix:` is followed by a path".to_owned()),
            Some(path) => Ok(XdsListen::Unix(path.into())),
            None => text
                .parse()
                .map(XdsListen::Tcp)
                .map_err(|_| format!("`{text}` is neither ADDRESS:PORT nor unix:PATH")),
        }
    }
}

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// What was accepted.
pub(super) enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Listener {
    /// Binds. A socket file that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// As the operating system says; the path is a file that is no socket; or somebody listens there.
    pub async fn bind(at: &XdsListen) -> io::Result<Listener> {
        let socket = match at {
            XdsListen::Tcp(address) => Socket::Tcp(TcpListener::bind(address).await?),
            XdsListen::Unix(path) => Socket::Unix(bind_unix(path).await?, path.clone()),
        };
        Ok(Listener { socket })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The operating system does not say.
    pub fn address(&self) -> io::Result<XdsListen> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().map(XdsListen::Tcp),
            Socket::Unix(_, path) => Ok(XdsListen::Unix(path.clone())),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok(Accepted::Tcp(stream, address))
            }
            Socket::Unix(listener, _) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }
}

/// A new listener has a new file, so what another process may hold open of the old one is no matter.
async fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(
                ErrorKind::AlreadyExists,
                "a file that is no socket is there",
            ));
        }
        Ok(_) if UnixStream::connect(path).await.is_ok() => {
            return Err(ErrorKind::AddrInUse.into());
        }
        Ok(_) => fs::remove_file(path)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    // Whoever connects is believed, so nobody but the owner may; and nobody can before it listens.
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests;
