//! What serves: the models of one release, immutable once built.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use artifact::Manifest;
use artifact::manifest::OutputContract;
use audit::event::ModelRef;
use domain::{ModelName, ModelVersion, Release, ReleaseId, Symbol};
use engine::{Answer, Explainer, InputError, Scorer};
use tokio::sync::Semaphore;

use crate::explain::NamedExplainer;

/// The models of one release.
#[derive(Debug)]
pub struct Serving {
    /// The release's id.
    pub release: ReleaseId,
    live: HashMap<ModelName, Arc<LiveModel>>,
}

/// A loaded model.
#[derive(Debug)]
pub struct LoadedModel {
    /// `name@version`.
    pub label: String,
    /// What the model is.
    pub manifest: Manifest,
    /// How it is named in records.
    pub reference: ModelRef,
    /// The model itself.
    pub scorer: Scorer,
    /// What explains it.
    pub(crate) explainer: Option<NamedExplainer>,
    /// Threads of their own that its long requests may take at once.
    pub(crate) slots: Arc<Semaphore>,
    /// Time that one row took, in nanoseconds, as a moving average; 0 before the first.
    row_ns: AtomicU64,
}

/// A model that answers requests for its name, with the one that stands in for it.
#[derive(Debug)]
pub struct LiveModel {
    /// The model.
    pub model: Arc<LoadedModel>,
    /// The model that stands in for it.
    pub fallback: Option<Arc<LoadedModel>>,
    /// Counters for `/v2/models/{m}/stats`.
    pub stats: Stats,
    last_good: Mutex<HashMap<Symbol, LastGood>>,
}

/// An answer that may be given again while it is fresh.
#[derive(Debug, Clone, PartialEq)]
pub struct LastGood {
    /// The answer.
    pub answer: Answer,
    /// When it was given, in microseconds since 1970.
    pub at_us: u64,
}

/// What a model has answered since it was loaded.
#[derive(Debug, Default)]
pub struct Stats {
    /// Answered requests.
    pub answered: AtomicU64,
    /// Time of the answered requests, in nanoseconds.
    pub answered_ns: AtomicU64,
    /// Refused or failed requests.
    pub failed: AtomicU64,
    /// Rows of the answered requests.
    pub rows: AtomicU64,
    /// When the last request was answered, in milliseconds since 1970.
    pub last_ms: AtomicU64,
}

/// Most requests that one model scores at once off the async threads; a model that hangs takes no more than these.
const SLOTS: usize = 16;

/// Most symbols whose last good answer is kept.
const MAX_LAST_GOOD: usize = 100_000;

impl Serving {
    /// The models of `release`, each found by its label in `models`; `None` where one is missing.
    pub fn new(release: &Release, models: &HashMap<String, Arc<LoadedModel>>) -> Option<Self> {
        let mut live = HashMap::new();
        for member in release
            .models
            .iter()
            .filter(|m| m.role == domain::ReleaseRole::Live)
        {
            let fallback = match release.fallback_for(&member.name) {
                Some(member) => Some(Arc::clone(models.get(&member.label())?)),
                None => None,
            };
            let model = LiveModel {
                model: Arc::clone(models.get(&member.label())?),
                fallback,
                stats: Stats::default(),
                last_good: Mutex::default(),
            };
            live.insert(member.name.clone(), Arc::new(model));
        }
        Some(Self {
            release: release.id,
            live,
        })
    }

    /// The live model of this name.
    pub fn find(&self, name: &ModelName) -> Option<&Arc<LiveModel>> {
        self.live.get(name)
    }

    /// The live model, where there is exactly one.
    pub fn only(&self) -> Option<&Arc<LiveModel>> {
        let mut models = self.live.values();
        models.next().filter(|_| models.next().is_none())
    }

    /// All live models, by name.
    pub fn all(&self) -> Vec<&Arc<LiveModel>> {
        let mut all: Vec<_> = self.live.values().collect();
        all.sort_by(|a, b| a.name().cmp(b.name()));
        all
    }
}

impl LoadedModel {
    /// A model that has been bound to its manifest, as its explainer has, where it has one.
    pub fn new(
        manifest: Manifest,
        sha256: &domain::Sha256Digest,
        scorer: Scorer,
        explainer: Option<Explainer>,
    ) -> Self {
        Self {
            explainer: explainer.map(|explainer| NamedExplainer::new(explainer, &manifest)),
            label: format!("{}@{}", manifest.name, manifest.version),
            reference: ModelRef {
                name: manifest.name.to_string(),
                version: manifest.version.to_string(),
                sha256: sha256.to_string(),
                algo_id: manifest.algo_id.clone(),
            },
            manifest,
            scorer,
            slots: Arc::new(Semaphore::new(SLOTS)),
            row_ns: AtomicU64::new(0),
        }
    }

    /// The latency budget of one request.
    pub fn budget(&self) -> Duration {
        Duration::from_millis(u64::from(self.manifest.latency_budget_ms))
    }

    /// How long `rows` rows will take, as far as is known.
    pub fn expected(&self, rows: usize) -> Option<Duration> {
        match self.row_ns.load(Ordering::Relaxed) {
            0 => None,
            ns => Some(Duration::from_nanos(ns.saturating_mul(rows as u64))),
        }
    }

    /// Learns from a request that took `elapsed`.
    pub fn observe(&self, rows: usize, elapsed: Duration) {
        let own = (elapsed.as_nanos() as u64 / rows.max(1) as u64).max(1);
        let old = self.row_ns.load(Ordering::Relaxed);
        let new = if old == 0 { own } else { (old * 7 + own) / 8 };
        self.row_ns.store(new.max(1), Ordering::Relaxed);
    }
}

impl LiveModel {
    /// The model's name.
    pub fn name(&self) -> &ModelName {
        &self.model.manifest.name
    }

    /// The model's version.
    pub fn version(&self) -> &ModelVersion {
        &self.model.manifest.version
    }

    /// The labels of a classification; none for a regression.
    pub fn labels(&self) -> &[String] {
        match &self.model.manifest.output {
            OutputContract::Classification { labels, .. } => labels,
            OutputContract::Regression { .. } => &[],
        }
    }

    /// Whether the column holds personal data, for the model or for the one that stands in for it.
    pub fn is_personal(&self, column: &str) -> bool {
        let models = std::iter::once(&self.model).chain(&self.fallback);
        let mut names = models.flat_map(|model| &model.manifest.personal_data);
        names.any(|name| name == column)
    }

    /// What is wrong with an input, without its value where the column holds personal data.
    pub fn without_personal_value<'a>(&self, error: &'a InputError) -> &'a str {
        let columns = self.model.manifest.inputs.iter().flat_map(|i| &i.columns);
        let personal = columns
            .filter(|column| self.is_personal(&column.name))
            .any(|column| error.field.ends_with(&format!("].{}", column.name)));
        if personal {
            "the value is not one that the model takes"
        } else {
            &error.message
        }
    }

    /// Remembers a good answer for the symbol, where the manifest asks for it.
    pub fn remember(&self, symbol: &Symbol, answer: &Answer, now_us: u64) {
        if self.model.manifest.fallback.last_good_max_age_s.is_none() {
            return;
        }
        let mut kept = self
            .last_good
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MAX_LAST_GOOD || kept.contains_key(symbol) {
            kept.insert(
                symbol.clone(),
                LastGood {
                    answer: answer.clone(),
                    at_us: now_us,
                },
            );
        }
    }

    /// The last good answer for the symbol.
    pub fn last_good(&self, symbol: &Symbol) -> Option<LastGood> {
        self.last_good
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(symbol)
            .cloned()
    }
}

/// Whether the answers of `fallback` can stand in for those of `live`: the same kind, the same labels.
pub fn can_stand_in(live: &Manifest, fallback: &Manifest) -> bool {
    match (&live.output, &fallback.output) {
        (
            OutputContract::Classification { labels: ours, .. },
            OutputContract::Classification { labels: theirs, .. },
        ) => ours == theirs,
        (OutputContract::Regression { .. }, OutputContract::Regression { .. }) => true,
        _ => false,
    }
}
