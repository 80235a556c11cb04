//! The server as a process of its own.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const READY_WITHIN: Duration = Duration::from_secs(30);
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

/// A server under test; killed when dropped.
pub(crate) struct ServerProcess {
    child: Child,
    addr: SocketAddr,
    log: PathBuf,
}

/// An address of this machine that nothing listens on.
pub(crate) fn find_free_addr() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

impl ServerProcess {
    pub(crate) fn start(data: &Path, addr: SocketAddr) -> Self {
        let log = data.join("server.log");
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_server"))
            .env("SEALCAST_ADDR", addr.to_string())
            .env("SEALCAST_DATA", data)
            .env("SEALCAST_SEAL_INTERVAL", "0.02")
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Self { child, addr, log }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn wait_until_ready(&mut self) {
        let until = Instant::now() + READY_WITHIN;
        while !self.is_ready() {
            let log = || std::fs::read_to_string(&self.log).unwrap_or_default();
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!(
                    "the server ended with {status} before it was ready: {}",
                    log()
                );
            }
            assert!(Instant::now() < until, "the server is not ready: {}", log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn is_ready(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(self.addr) else {
            return false;
        };
        let mut answer = [0; 12];
        let request = b"GET /v2/health/ready HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        stream
            .write_all(request)
            .and_then(|()| stream.read_exact(&mut answer))
            .is_ok()
            && &answer == b"HTTP/1.1 200"
    }

    /// `kill -9`, and wait until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// `kill -TERM`, and wait until it has ended.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        let sent = Command::new("kill")
            .arg("-TERM")
            .arg(self.pid().to_string())
            .status()
            .unwrap();
        assert!(sent.success());
        let until = Instant::now() + STOPPED_WITHIN;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "the server does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
