//! One keep-alive connection: a request out, an answer in.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Most headers that an answer may have.
const MAX_HEADERS: usize = 48;
/// Longest answer, in bytes.
const MAX_ANSWER: usize = 64 << 20;

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("input or output failed: {}", .0.kind())]
    Io(#[from] io::Error),
    #[error("the server closed the connection before the answer was whole")]
    Closed,
    #[error("the answer is no HTTP/1.1: {0}")]
    Malformed(#[from] httparse::Error),
    #[error("the answer has no usable content-length")]
    NoLength,
    #[error("the answer is longer than {MAX_ANSWER} bytes")]
    TooLong,
    #[error("bytes follow the answer")]
    Trailing,
}

/// What is kept of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// `STREAM:SEQ:HASH`.
    pub(crate) receipt: Option<String>,
    /// The answer was recorded for an earlier request with the same id.
    pub(crate) replayed: bool,
    /// Another than the live model answered.
    pub(crate) degraded: bool,
    /// The server closes the connection after this answer.
    pub(crate) closes: bool,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::with_capacity(16 << 10),
        }
    }

    /// Sends a whole request and reads the whole answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Answer, ExchangeError> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            self.read_more().await?;
            if let Some(head) = Head::parse(&self.buffer)? {
                break head;
            }
        };
        if head.length > MAX_ANSWER {
            return Err(ExchangeError::TooLong);
        }
        let end = head.size + head.length;
        while self.buffer.len() < end {
            self.read_more().await?;
        }
        if self.buffer.len() > end {
            return Err(ExchangeError::Trailing);
        }
        let body = &self.buffer[head.size..];
        Ok(Answer {
            degraded: is_degraded(body),
            ..head.answer
        })
    }

    async fn read_more(&mut self) -> Result<(), ExchangeError> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(ExchangeError::Closed),
            _ => Ok(()),
        }
    }
}

struct Head {
    /// Bytes of the status line and the headers.
    size: usize,
    /// Bytes of the body.
    length: usize,
    answer: Answer,
}

impl Head {
    /// `None` where the head is not whole yet.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, ExchangeError> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(size) = response.parse(bytes)? else {
            return Ok(None);
        };
        let text = |name: &str| {
            let header = response
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case(name));
            header
                .and_then(|header| std::str::from_utf8(header.value).ok())
                .map(str::trim)
        };
        let length = text("content-length")
            .and_then(|length| length.parse().ok())
            .ok_or(ExchangeError::NoLength)?;
        let answer = Answer {
            status: response.code.unwrap_or_default(),
            receipt: text("sealcast-receipt").map(str::to_owned),
            replayed: text("sealcast-replayed") == Some("true"),
            degraded: false,
            closes: text("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
        };
        Ok(Some(Self {
            size,
            length,
            answer,
        }))
    }
}

fn is_degraded(body: &[u8]) -> bool {
    const MARK: &[u8] = b"\"degraded\":true";
    body.windows(MARK.len()).any(|window| window == MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\nSealcast-Receipt: ab:7:cd\r\n\r\n{\"degraded\":true}";

    /// What is read of `answer` when it comes in pieces of `size` bytes.
    async fn read(answer: &'static [u8], size: usize) -> Result<Answer, ExchangeError> {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let mut connection = Connection::new(near);
        let server = tokio::spawn(async move {
            let mut request = [0; 4];
            far.read_exact(&mut request).await.unwrap();
            assert_eq!(&request, b"ping");
            for piece in answer.chunks(size) {
                far.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let answer = connection.exchange(b"ping").await;
        server.await.unwrap();
        answer
    }

    #[tokio::test]
    async fn an_answer_is_read_however_it_is_cut() {
        for size in [1, 3, 20, 4096] {
            let answer = read(OK, size).await.unwrap();
            let receipt = Some("ab:7:cd".to_owned());
            assert_eq!(
                answer,
                Answer {
                    status: 200,
                    receipt,
                    replayed: false,
                    degraded: true,
                    closes: false
                }
            );
        }
    }

    #[tokio::test]
    async fn a_refusal_is_an_answer_too() {
        let refused =
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
        let answer = read(refused, 4096).await.unwrap();
        assert_eq!(
            (answer.status, answer.closes, answer.degraded),
            (503, true, false)
        );
    }

    #[tokio::test]
    async fn a_cut_or_broken_answer_is_an_error() {
        assert!(matches!(
            read(&OK[..OK.len() - 1], 4096).await,
            Err(ExchangeError::Closed)
        ));
        assert!(matches!(
            read(b"HTTP/1.1 200 OK\r\n\r\n", 4096).await,
            Err(ExchangeError::NoLength)
        ));
        assert!(matches!(
            read(b"SSH-2.0\r\n\r\n", 4096).await,
            Err(ExchangeError::Malformed(_))
        ));
        let twice = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1";
        assert!(matches!(
            read(twice, 4096).await,
            Err(ExchangeError::Trailing)
        ));
    }
}
