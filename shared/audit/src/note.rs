//! Signed notes (C2SP signed-note): text, a blank line, and a line for each signature.
//!
//! Whoever signs is outside: [`SignedNote::text`] is what Ed25519 signs as it is and ECDSA with SHA-256, and
//! [`SignedNote::add`] takes the signature.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

mod key;

pub use key::{KeyName, ParseVerifierKeyError, SignatureKind, VerifierKey, cosigned_message};

/// Longest signed note in bytes.
pub const MAX_NOTE_BYTES: usize = 1_000_000;
/// Most signature lines of a note.
pub const MAX_SIGNATURES: usize = 100;

const DASH: &str = "\u{2014} ";

/// Text that is no signed note.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseNoteError {
    /// Longer than [`MAX_NOTE_BYTES`].
    #[error("a note of {0} bytes is longer than {MAX_NOTE_BYTES}")]
    TooLong(usize),
    /// Not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// A control character other than the line feed.
    #[error("a control character at byte {0}")]
    Control(usize),
    /// The text does not end with a line feed, or is empty.
    #[error("the text does not end with a line feed")]
    Text,
    /// No blank line between text and signatures.
    #[error("no blank line before the signatures")]
    NoSignatures,
    /// More than [`MAX_SIGNATURES`].
    #[error("more than {MAX_SIGNATURES} signatures")]
    TooManySignatures,
    /// A signature line of another form.
    #[error("signature line {0} is not `\u{2014} name base64`")]
    Signature(usize),
}

/// Why no trusted key vouches for a note.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyNoteError {
    /// A signature of a trusted key does not verify.
    #[error("the signature of {0} does not verify")]
    Signature(KeyName),
    /// None of the trusted keys signed.
    #[error("no trusted key signed the note")]
    NoTrustedSignature,
    /// The note would be one that nobody reads: with more signatures than [`MAX_SIGNATURES`], or too long.
    #[error("the signature does not fit: {0}")]
    NoRoom(ParseNoteError),
    /// Two trusted keys have the same name and id.
    #[error("two trusted keys are named {0} and have the same id")]
    Ambiguous(KeyName),
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// Name of the key.
    pub name: KeyName,
    /// The key's id.
    pub key_id: [u8; 4],
    /// What the key's kind makes of it.
    pub signature: Vec<u8>,
}

/// A note and its signatures, none of them verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl SignedNote {
    /// A note without signatures.
    ///
    /// # Errors
    /// [`ParseNoteError`] where `text` is not the text of a note, or a longer one than is read.
    pub fn new(text: String) -> Result<Self, ParseNoteError> {
        if text.len() > MAX_NOTE_BYTES {
            return Err(ParseNoteError::TooLong(text.len()));
        }
        check_characters(&text)?;
        if !text.ends_with('\n') {
            return Err(ParseNoteError::Text);
        }
        Ok(Self {
            text,
            signatures: Vec::new(),
        })
    }

    /// Reads a note with one signature or more.
    ///
    /// # Errors
    /// [`ParseNoteError`] with what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseNoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(ParseNoteError::TooLong(bytes.len()));
        }
        let note = str::from_utf8(bytes).map_err(|_| ParseNoteError::NotUtf8)?;
        let Some(blank) = note.rfind("\n\n") else {
            check_characters(note)?;
            return Err(ParseNoteError::NoSignatures);
        };
        let (text, lines) = (&note[..=blank], &note[blank + 2..]);
        let mut parsed = Self::new(text.to_owned())?;
        check_characters(lines)?;
        let lines = lines
            .strip_suffix('\n')
            .ok_or(ParseNoteError::NoSignatures)?;
        for (number, line) in lines.split('\n').enumerate() {
            if number == MAX_SIGNATURES {
                return Err(ParseNoteError::TooManySignatures);
            }
            let signature = parse_signature(line).ok_or(ParseNoteError::Signature(number + 1))?;
            parsed.signatures.push(signature);
        }
        Ok(parsed)
    }

    /// The signed text, with its last line feed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, in the order of their lines.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds the signature that `key`'s private half made.
    ///
    /// # Errors
    /// [`VerifyNoteError::Signature`] where it does not verify: a wrong signature never enters a note.
    /// [`VerifyNoteError::NoRoom`] where the note would be longer than one that is read.
    pub fn add(&mut self, key: &VerifierKey, signature: Vec<u8>) -> Result<(), VerifyNoteError> {
        if !key.verify(&self.text, &signature) {
            return Err(VerifyNoteError::Signature(key.name().clone()));
        }
        if self.signatures.len() == MAX_SIGNATURES {
            return Err(VerifyNoteError::NoRoom(ParseNoteError::TooManySignatures));
        }
        self.signatures.push(NoteSignature {
            name: key.name().clone(),
            key_id: key.id(),
            signature,
        });
        let length = self.to_string().len();
        if length > MAX_NOTE_BYTES {
            self.signatures.pop();
            return Err(VerifyNoteError::NoRoom(ParseNoteError::TooLong(length)));
        }
        Ok(())
    }

    /// The trusted keys that signed, each once, in the order of the lines. Signatures of other keys are ignored, and
    /// so is all but the first of one key.
    ///
    /// # Errors
    /// [`VerifyNoteError`] where none signed, or a signature of one is wrong.
    pub fn verify<'k>(
        &self,
        trusted: &'k [VerifierKey],
    ) -> Result<Vec<&'k VerifierKey>, VerifyNoteError> {
        let mut signers: Vec<&VerifierKey> = Vec::new();
        for line in &self.signatures {
            let mut named = trusted
                .iter()
                .filter(|key| *key.name() == line.name && key.id() == line.key_id);
            let Some(key) = named.next() else { continue };
            if named.any(|other| other != key) {
                return Err(VerifyNoteError::Ambiguous(line.name.clone()));
            }
            if signers.contains(&key) {
                continue;
            }
            if !key.verify(&self.text, &line.signature) {
                return Err(VerifyNoteError::Signature(line.name.clone()));
            }
            signers.push(key);
        }
        if signers.is_empty() {
            return Err(VerifyNoteError::NoTrustedSignature);
        }
        Ok(signers)
    }
}

/// The note as it is stored.
impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for line in &self.signatures {
            let blob = [line.key_id.as_slice(), &line.signature].concat();
            writeln!(f, "{DASH}{} {}", line.name, STANDARD.encode(blob))?;
        }
        Ok(())
    }
}

fn check_characters(text: &str) -> Result<(), ParseNoteError> {
    match text.bytes().position(|b| b < 0x20 && b != b'\n') {
        Some(at) => Err(ParseNoteError::Control(at)),
        None => Ok(()),
    }
}

fn parse_signature(line: &str) -> Option<NoteSignature> {
    let (name, blob) = line.strip_prefix(DASH)?.split_once(' ')?;
    let blob = STANDARD.decode(blob).ok()?;
    let (key_id, signature) = blob.split_first_chunk::<4>()?;
    if signature.is_empty() {
        return None;
    }
    Some(NoteSignature {
        name: KeyName::parse(name)?,
        key_id: *key_id,
        signature: signature.to_vec(),
    })
}
