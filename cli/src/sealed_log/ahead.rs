//! Tiles that are fetched before they are asked for: a verification of a log that is far away waits for the network
//! once, not for each tile.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use audit::tiles::TileId;

use super::tiles::fetch;
use super::{LogObjects, ObjectError};

type Fetched = Result<Vec<u8>, ObjectError>;
type Job = (TileId, Sender<Fetched>);

/// Fetches tiles in a given order, a bounded number of them before they are asked for.
pub(super) struct Ahead {
    objects: Arc<dyn LogObjects>,
    order: Box<dyn Iterator<Item = TileId> + Send>,
    /// What is fetched or being fetched, in order.
    pending: VecDeque<(TileId, Receiver<Fetched>)>,
    jobs: Sender<Job>,
    window: usize,
}

impl Ahead {
    /// As many threads as reads are worth making at once; they end when this is dropped.
    pub(super) fn new(
        objects: &Arc<dyn LogObjects>,
        order: Box<dyn Iterator<Item = TileId> + Send>,
    ) -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let threads = objects.parallel();
        for _ in 0..threads {
            let (objects, queue) = (Arc::clone(objects), Arc::clone(&queue));
            std::thread::spawn(move || work(objects.as_ref(), &queue));
        }
        let mut ahead = Self {
            objects: Arc::clone(objects),
            order,
            pending: VecDeque::new(),
            jobs,
            window: 2 * threads,
        };
        ahead.fill();
        ahead
    }

    fn fill(&mut self) {
        while self.pending.len() < self.window {
            let Some(tile) = self.order.next() else {
                return;
            };
            let (reply, fetched) = mpsc::channel();
            // Where no thread is left to answer, the tile is fetched when it is asked for.
            let _ = self.jobs.send((tile, reply));
            self.pending.push_back((tile, fetched));
        }
    }

    /// The tile, which is waited for where it is being fetched.
    pub(super) fn read(&mut self, tile: TileId) -> Fetched {
        let position = self.pending.iter().position(|(id, _)| *id == tile);
        let fetched = position.and_then(|at| {
            // What comes before it was passed over.
            self.pending.drain(..at);
            self.pending.pop_front()
        });
        self.fill();
        match fetched.map(|(_, reply)| reply.recv()) {
            Some(Ok(fetched)) => fetched,
            Some(Err(_)) | None => fetch(self.objects.as_ref(), tile),
        }
    }
}

fn work(objects: &dyn LogObjects, queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((tile, reply)) = job else { return };
        // Nobody waits for a tile that was passed over.
        let _ = reply.send(fetch(objects, tile));
    }
}
