//! A keep-alive connection of a client that knows HTTP/1.1 and nothing of the server's code.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for a part of an answer.
const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) struct Connection {
    stream: TcpStream,
    token: &'static str,
}

/// An answer that arrived whole.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// By lower-case name.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(addr: SocketAddr, token: &'static str) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self { stream, token })
    }

    /// Sends the body and waits for the whole answer.
    pub(crate) fn post(&mut self, path: &str, body: &[u8]) -> io::Result<Response> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            self.token,
            body.len()
        );
        self.stream.write_all(&[head.as_bytes(), body].concat())?;
        let mut bytes = Vec::new();
        let start = loop {
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.read_more(&mut bytes)?;
        };
        let head = String::from_utf8_lossy(&bytes[..start]).into_owned();
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers: HashMap<String, String> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers
            .get("content-length")
            .and_then(|length| length.parse::<usize>().ok());
        let (Some(status), Some(length)) = (status, length) else {
            return Err(io::Error::other(format!(
                "no answer that is understood: {head}"
            )));
        };
        while bytes.len() < start + length {
            self.read_more(&mut bytes)?;
        }
        Ok(Response {
            status,
            headers,
            body: bytes.split_off(start),
        })
    }

    fn read_more(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        let mut piece = [0; 4096];
        match self.stream.read(&mut piece)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                bytes.extend_from_slice(&piece[..read]);
                Ok(())
            }
        }
    }
}
