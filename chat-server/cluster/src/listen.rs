//! Opens the addresses that the servers listen on.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use tokio::net::{TcpListener, TcpSocket};

/// Connections that the kernel holds until they are accepted: a whole office that comes back at once. Linux caps it
/// at `net.core.somaxconn`.
const BACKLOG: u32 = 4_096;

/// Listens. `[::]` is all addresses of both families, as Linux has it unless configured otherwise (`net.ipv6.bindv6only`), also
/// on a machine without IPv6: so one configuration serves any.
///
/// # Errors
/// When the address cannot be had.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match bind(address) {
        Err(error) if address.is_ipv6() && address.ip().is_unspecified() && is_without_ipv6(&error) => {
            bind((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        done => done,
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A server that is started again must not wait for connections of the last one to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A kernel without it knows no such family, one in which it is switched off has no such address.
fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable)
        || error.raw_os_error() == Some(EAFNOSUPPORT)
}

/// Of Linux; the standard library has no name for it.
const EAFNOSUPPORT: i32 = 97;

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn all_addresses_are_those_of_both_families() {
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let listener = listen((Ipv6Addr::UNSPECIFIED, 0).into()).unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port(&listener))).await.unwrap();
        if listen((Ipv6Addr::LOCALHOST, 0).into()).is_ok() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, port(&listener))).await.unwrap();
        }
        let only_four = listen((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
        assert!(only_four.local_addr().unwrap().is_ipv4());
    }

    #[test]
    fn only_a_machine_without_ipv6_listens_elsewhere() {
        for (error, expected) in [
            (io::Error::from_raw_os_error(EAFNOSUPPORT), true),
            (io::ErrorKind::AddrNotAvailable.into(), true),
            (io::ErrorKind::AddrInUse.into(), false),
            (io::ErrorKind::PermissionDenied.into(), false),
        ] {
            assert_eq!(is_without_ipv6(&error), expected, "{error}");
        }
    }
}
