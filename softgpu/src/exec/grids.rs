// SPDX-License-Identifier: Apache-2.0
//! Grids that launch grids (CUDA programming guide, "CUDA Dynamic Parallelism").
//!
//! The grids of one launch from the host form a tree. A grid is complete when its own blocks have
//! ended and all that they launched is complete; what they gave to the tail stream begins only when
//! the rest is. Work in one stream is in order, all else may run at once: by the thread of the
//! launch, and by more threads that come as there is work and go with the launch.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::fault::{Access, Fault, Location};
use super::launch::{LaunchConfig, LaunchOptions, LaunchStatistics, launch_grid};
use super::module::{KernelId, LoadedModule};
use crate::limits::DEVICE_LAUNCH_THREADS_MAX;
use crate::memory::Memory;

/// A launch by a kernel.
pub(crate) struct Child {
    pub(crate) kernel: KernelId,
    pub(crate) config: LaunchConfig,
    pub(crate) parameters: Vec<u8>,
}

/// A stream of a grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum StreamKey {
    /// The default stream of a block, by the block's number.
    Block(u64),
    /// The default stream of a thread: block and lane.
    Thread(u64, u32),
    /// Made by the kernel.
    Named(u64),
    /// Fire and forget: for one grid.
    Once(u64),
    /// Runs when all else of the grid is complete.
    Tail,
}

/// A copy or a memset.
type Transfer = Box<dyn FnOnce(&Memory) -> bool + Send>;

/// What a kernel gives to a stream.
pub(crate) enum Item {
    Grid(Child),
    Transfer(Transfer),
    /// Completes the record with this number.
    Record(u64),
    /// Waits for the record with this number.
    Wait(u64),
}

#[derive(Default)]
struct Stream {
    queue: VecDeque<Item>,
    is_running: bool,
}

/// A grid that is not complete.
#[derive(Default)]
struct Node {
    /// The grid that launched it, and the stream there; nothing for the host's.
    home: Option<(u64, StreamKey)>,
    /// Its own blocks have ended.
    has_ended: bool,
    /// Items that it gave to streams and that are not complete.
    open: u64,
    streams: HashMap<StreamKey, Stream>,
    tails: VecDeque<Item>,
}

/// An item whose turn it is.
struct Ready {
    grid: u64,
    key: StreamKey,
    item: Item,
}

enum Step {
    /// Begin the next item of a stream.
    Advance(u64, StreamKey),
    /// An item of a stream is complete.
    Finished(u64, StreamKey),
    /// See whether a grid is complete.
    Check(u64),
}

#[derive(Default)]
pub(crate) struct State {
    nodes: HashMap<u64, Node>,
    ready: VecDeque<Ready>,
    /// Streams that wait for records that are not complete.
    records: HashMap<u64, Vec<(u64, StreamKey)>>,
    threads: usize,
    idle: usize,
    next: u64,
    is_complete: bool,
    fault: Option<Fault>,
    /// Launches that have not begun.
    pub(crate) pending: usize,
    /// Streams that kernels made.
    pub(crate) streams: HashSet<u64>,
    /// Events that kernels made, with their last record.
    pub(crate) events: HashMap<u64, Option<u64>>,
    /// Parameter buffers, and what they were got for.
    pub(crate) buffers: HashMap<u64, Option<(KernelId, LaunchConfig)>>,
    /// The last error of a thread, by grid, block and lane.
    pub(crate) errors: HashMap<(u64, u64, u32), u32>,
}

impl State {
    /// A number that is used once.
    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn push(&mut self, grid: u64, key: StreamKey, item: Item) {
        if let Item::Record(record) = item {
            self.records.insert(record, Vec::new());
        }
        self.pending += usize::from(matches!(item, Item::Grid(_)));
        let Some(node) = self.nodes.get_mut(&grid) else {
            return;
        };
        if key == StreamKey::Tail {
            node.tails.push_back(item);
            return;
        }
        node.open += 1;
        let stream = node.streams.entry(key).or_default();
        stream.queue.push_back(item);
        self.settle(Step::Advance(grid, key));
    }

    fn settle(&mut self, first: Step) {
        let mut steps = vec![first];
        while let Some(step) = steps.pop() {
            match step {
                Step::Advance(grid, key) => self.advance(grid, key, &mut steps),
                Step::Finished(grid, key) => {
                    if let Some(node) = self.nodes.get_mut(&grid) {
                        node.open -= 1;
                        if let Some(stream) = node.streams.get_mut(&key) {
                            stream.is_running = false;
                        }
                    }
                    steps.push(Step::Check(grid));
                    steps.push(Step::Advance(grid, key));
                }
                Step::Check(grid) => self.check(grid, &mut steps),
            }
        }
    }

    fn advance(&mut self, grid: u64, key: StreamKey, steps: &mut Vec<Step>) {
        let Some(node) = self.nodes.get_mut(&grid) else {
            return;
        };
        let Some(stream) = node.streams.get_mut(&key) else {
            return;
        };
        if stream.is_running {
            return;
        }
        match stream.queue.front() {
            None => {
                node.streams.remove(&key);
                return;
            }
            Some(Item::Wait(record)) => {
                if let Some(waiting) = self.records.get_mut(record) {
                    waiting.push((grid, key));
                    return;
                }
            }
            Some(_) => {}
        }
        stream.is_running = true;
        let Some(item) = stream.queue.pop_front() else {
            return;
        };
        match item {
            Item::Wait(_) => steps.push(Step::Finished(grid, key)),
            Item::Record(record) => {
                let waiting = self.records.remove(&record).unwrap_or_default();
                steps.extend(waiting.into_iter().map(|(g, k)| Step::Advance(g, k)));
                steps.push(Step::Finished(grid, key));
            }
            item => self.ready.push_back(Ready { grid, key, item }),
        }
    }

    fn check(&mut self, grid: u64, steps: &mut Vec<Step>) {
        let Some(node) = self.nodes.get_mut(&grid) else {
            return;
        };
        if !node.has_ended || node.open > 0 {
            return;
        }
        if let Some(tail) = node.tails.pop_front() {
            node.open += 1;
            let stream = node.streams.entry(StreamKey::Tail).or_default();
            stream.queue.push_back(tail);
            steps.push(Step::Advance(grid, StreamKey::Tail));
            return;
        }
        let home = node.home;
        self.nodes.remove(&grid);
        match home {
            Some((parent, key)) => steps.push(Step::Finished(parent, key)),
            None => self.is_complete = true,
        }
    }
}

/// All grids of one launch from the host.
pub(crate) struct Tree<'env> {
    module: &'env LoadedModule,
    options: LaunchOptions<'env>,
    state: Mutex<State>,
    changed: Condvar,
    /// A grid has failed: all others end.
    stop: AtomicBool,
}

/// What a kernel sees of its tree.
pub(crate) trait Grids: Sync {
    fn module(&self) -> &LoadedModule;
    /// The number of the grid.
    fn number(&self) -> u64;
    fn state(&self) -> MutexGuard<'_, State>;
    /// Gives an item to a stream of the grid; false if too many launches are pending.
    fn submit(&self, key: StreamKey, item: Item) -> bool;
    /// A grid of the tree has failed.
    fn is_stopping(&self) -> bool;
}

struct Handle<'scope, 'env> {
    tree: &'env Tree<'env>,
    scope: &'scope Scope<'scope, 'env>,
    grid: u64,
}

impl Grids for Handle<'_, '_> {
    fn module(&self) -> &LoadedModule {
        self.tree.module
    }

    fn number(&self) -> u64 {
        self.grid
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.tree.state.lock()
    }

    fn submit(&self, key: StreamKey, item: Item) -> bool {
        let mut state = self.tree.state.lock();
        if state.pending >= self.tree.options.pending_launches_max {
            return false;
        }
        state.push(self.grid, key, item);
        self.find_threads(state);
        true
    }

    fn is_stopping(&self) -> bool {
        self.tree.stop.load(Ordering::Relaxed)
    }
}

impl<'scope, 'env> Handle<'scope, 'env> {
    fn of(&self, grid: u64) -> Self {
        Self { grid, ..*self }
    }

    /// Sees to it that somebody runs what is ready.
    fn find_threads(&self, mut state: MutexGuard<'_, State>) {
        if state.ready.is_empty() {
            return;
        }
        if state.idle > 0 || state.threads >= DEVICE_LAUNCH_THREADS_MAX {
            drop(state);
            self.tree.changed.notify_one();
            return;
        }
        state.threads += 1;
        drop(state);
        let (tree, scope) = (self.tree, self.scope);
        let thread = std::thread::Builder::new().name("softgpu-grid".into());
        let spawned = thread.spawn_scoped(scope, move || {
            let handle = Handle {
                tree,
                scope,
                grid: 0,
            };
            handle.serve();
        });
        if spawned.is_err() {
            // The thread of the launch does it in the end.
            self.tree.state.lock().threads -= 1;
        }
    }

    /// Runs what is ready until the whole tree is complete.
    fn serve(&self) {
        let mut state = self.tree.state.lock();
        while !state.is_complete && state.fault.is_none() {
            let Some(ready) = state.ready.pop_front() else {
                state.idle += 1;
                self.tree.changed.wait(&mut state);
                state.idle -= 1;
                continue;
            };
            state = self.run(state, ready);
        }
        drop(state);
        self.tree.changed.notify_all();
    }

    fn run<'s>(&'s self, mut state: MutexGuard<'s, State>, ready: Ready) -> MutexGuard<'s, State> {
        let Ready { grid, key, item } = ready;
        let step = match item {
            Item::Grid(child) => {
                state.pending -= 1;
                let number = state.number();
                let node = Node {
                    home: Some((grid, key)),
                    ..Node::default()
                };
                state.nodes.insert(number, node);
                drop(state);
                let result = self.of(number).run_blocks(&child);
                state = self.tree.state.lock();
                if let Err(fault) = result {
                    self.fail(&mut state, fault);
                }
                if let Some(node) = state.nodes.get_mut(&number) {
                    node.has_ended = true;
                }
                Step::Check(number)
            }
            Item::Transfer(transfer) => {
                drop(state);
                let is_done = transfer(self.tree.module.memory());
                state = self.tree.state.lock();
                if !is_done {
                    self.fail(&mut state, illegal_transfer());
                }
                Step::Finished(grid, key)
            }
            Item::Record(_) | Item::Wait(_) => Step::Finished(grid, key),
        };
        state.settle(step);
        if !state.ready.is_empty() {
            self.find_threads(state);
            state = self.tree.state.lock();
        }
        state
    }

    fn run_blocks(&self, child: &Child) -> Result<LaunchStatistics, Fault> {
        launch_grid(
            self.tree.module,
            child.kernel,
            &child.config,
            &child.parameters,
            &self.tree.options,
            Some(self),
        )
    }

    fn fail(&self, state: &mut MutexGuard<'_, State>, fault: Fault) {
        self.tree.stop.store(true, Ordering::Relaxed);
        state.fault.get_or_insert(fault);
    }
}

/// Runs a kernel of a module that launches grids, and all that it launches.
pub(crate) fn run(
    module: &LoadedModule,
    root: &Child,
    options: &LaunchOptions<'_>,
) -> Result<LaunchStatistics, Fault> {
    let tree = Tree {
        module,
        options: *options,
        state: Mutex::default(),
        changed: Condvar::new(),
        stop: AtomicBool::new(false),
    };
    let number = {
        let mut state = tree.state.lock();
        let number = state.number();
        state.nodes.insert(number, Node::default());
        number
    };
    let result = std::thread::scope(|scope| {
        let handle = Handle {
            tree: &tree,
            scope,
            grid: number,
        };
        let result = handle.run_blocks(root);
        let mut state = tree.state.lock();
        if let Err(fault) = &result {
            handle.fail(&mut state, fault.clone());
        }
        if let Some(node) = state.nodes.get_mut(&number) {
            node.has_ended = true;
        }
        state.settle(Step::Check(number));
        drop(state);
        handle.serve();
        result
    });
    let mut state = tree.state.into_inner();
    for buffer in state.buffers.keys() {
        // It was allocated for a launch that never came.
        let _ = module.memory().free(*buffer);
    }
    match state.fault.take() {
        Some(fault) => Err(fault),
        None => result,
    }
}

fn illegal_transfer() -> Fault {
    Fault::IllegalAddress {
        address: 0,
        bytes: 0,
        access: Access::Write,
        space: "global",
        location: Location {
            function: "a copy or memset by a kernel".to_owned(),
            ..Location::default()
        },
    }
}
