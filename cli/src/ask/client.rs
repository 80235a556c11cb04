//! A server that is asked many times over kept connections: what is read, and nothing is sent.

use std::path::PathBuf;
use std::time::Duration;

use super::{Header, describe_refusal, new_agent, present_token};
use crate::failure::Failure;

/// How this process proves who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    /// By the bearer token of this file.
    TokenFile(PathBuf),
    /// By the IAM credentials of the environment.
    Sigv4,
}

/// A server, and the proof that each request carries.
pub(crate) struct Client {
    agent: ureq::Agent,
    address: String,
    token: Option<Vec<Header>>,
    #[cfg(feature = "aws")]
    signer: super::aws::RequestSigner,
}

/// What a server answered with status 200.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// The body.
    pub(crate) body: Vec<u8>,
    headers: Vec<Header>,
}

impl Fetched {
    /// A header's value, by its lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|header| header.0 == name);
        found.map(|header| header.1.as_str())
    }
}

impl Client {
    /// A client of the server at `address`; a request that takes longer than `timeout` has failed.
    pub(crate) fn new(address: &str, proof: &Proof, timeout: Duration) -> Result<Self, Failure> {
        let token = match proof {
            Proof::TokenFile(path) => Some(present_token(path)?),
            #[cfg(feature = "aws")]
            Proof::Sigv4 => None,
            #[cfg(not(feature = "aws"))]
            Proof::Sigv4 => return Err(Failure::not_built("--sigv4", "signs no requests")),
        };
        Ok(Self {
            agent: new_agent(address, timeout)?,
            address: address.to_owned(),
            token,
            #[cfg(feature = "aws")]
            signer: super::aws::RequestSigner::default(),
        })
    }

    /// Where the server is.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    fn prove(&self, url: &str) -> Result<Vec<Header>, Failure> {
        match &self.token {
            Some(headers) => Ok(headers.clone()),
            #[cfg(feature = "aws")]
            None => self.signer.sign_get(url),
            #[cfg(not(feature = "aws"))]
            None => Err(Failure::internal(format!("nothing proves who asks {url}"))),
        }
    }

    /// Reads a route, whose answer has at most `max` bytes; every other status than 200 is a failure.
    pub(crate) fn get(&self, route: &str, max: u64) -> Result<Fetched, Failure> {
        let url = format!("{}{route}", self.address);
        let unreachable = |error: ureq::Error| {
            Failure::unavailable("network.unavailable", format!("GET {url}: {error}"))
                .at("--server")
        };
        let mut request = self.agent.get(&url);
        for (name, value) in self.prove(&url)? {
            request = request.header(name, value);
        }
        let mut response = request.call().map_err(unreachable)?;
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
            .collect();
        let body = response
            .body_mut()
            .with_config()
            .limit(max)
            .read_to_vec()
            .map_err(unreachable)?;
        if status == 200 {
            return Ok(Fetched { body, headers });
        }
        let text = String::from_utf8_lossy(&body);
        Err(describe_refusal("GET", &url, status, &text))
    }
}
