//! The files that an artifact consists of.

/// The manifest: canonical JSON, signed.
pub const MANIFEST_FILE: &str = "manifest.json";
/// The encrypted container of the ONNX file, signed.
pub const CONTAINER_FILE: &str = "model.onnx.sealed";
/// The encrypted container of the model's packed form, signed; only where the manifest names one.
pub const PACKED_FILE: &str = "model.packed.sealed";
/// The signature bundle over the files above.
pub const SIGNATURE_FILE: &str = "model.sig";
/// The sidecar with the wrapped data key; not signed, because re-wrapping rewrites it.
pub const SIDECAR_FILE: &str = "key.json";

/// The bytes of an artifact's write-once files, as they were fetched: nothing in them is trusted yet.
///
/// All that were signed, or all but the container of the ONNX file: who loads the packed form need not fetch it.
#[derive(Debug, Clone, Copy)]
pub struct ArtifactFiles<'a> {
    /// Content of [`MANIFEST_FILE`].
    pub manifest_json: &'a [u8],
    /// Content of [`CONTAINER_FILE`].
    pub sealed: Option<&'a [u8]>,
    /// Content of [`PACKED_FILE`].
    pub packed: Option<&'a [u8]>,
    /// Content of [`SIGNATURE_FILE`].
    pub bundle: &'a [u8],
}
