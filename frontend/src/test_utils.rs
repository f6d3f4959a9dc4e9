// SPDX-License-Identifier: Apache-2.0
//! The other side, for tests: a peer that speaks the protocol, and on top of it a device that keeps
//! memory, counts a kernel's launches, and fails when it is told to.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, OnceLock};

use gvirtus_abi::{CUdevice_attribute as Attribute, CUresult};
use gvirtus_protocol::command::{Copy2D, FunctionNumber, Kernel, Launch, Load, LoadedImage};
use gvirtus_protocol::frame::{ReplyHeader, ReplyKind};
use gvirtus_protocol::handshake::{Answer, Hello, PREAMBLE_BYTES, Welcome, read_client_preamble};
use gvirtus_protocol::opcode::{self, Opcode};
use gvirtus_protocol::snapshot::{Device, Snapshot};
use gvirtus_protocol::stream::ReceiveBuffer;
use gvirtus_transport::{Endpoint, Listener, Stream, from_descriptor, write_all_vectored};
use parking_lot::{Mutex, MutexGuard};
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::config::Environment;

const SUCCESS: CUresult = CUresult::CUDA_SUCCESS;

/// A command as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) opcode: Opcode,
    pub(crate) context: u16,
    pub(crate) sequence: u64,
    pub(crate) body: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Received {
    /// The word of the body with this index.
    pub(crate) fn word(&self, index: usize) -> u64 {
        let word = self.body[index * 8..].first_chunk();
        u64::from_le_bytes(*word.expect("the body is long enough"))
    }
}

/// The worker's end of a connection.
pub(crate) struct Peer {
    stream: Box<dyn Stream>,
    buffer: ReceiveBuffer,
    expected: u64,
}

/// Both ends of a connection.
pub(crate) fn pair() -> (Box<dyn Stream>, Peer) {
    let (client, worker) = UnixStream::pair().expect("a socket pair");
    let stream = |end| from_descriptor(OwnedFd::from(end)).expect("a socket");
    (stream(client), Peer::new(stream(worker)))
}

impl Peer {
    fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            buffer: ReceiveBuffer::new(256 << 10),
            expected: 1,
        }
    }

    /// The next command, or nothing when the client has closed.
    pub(crate) fn next(&mut self) -> Option<Received> {
        let (mut received, payload) = loop {
            if let Some(command) = self.buffer.command(self.expected).expect("a valid command") {
                let received = Received {
                    opcode: command.header.opcode(),
                    context: command.header.context.get(),
                    sequence: self.expected,
                    body: command.body.to_vec(),
                    payload: Vec::new(),
                };
                break (received, command.header.payload_bytes.get());
            }
            self.fill()?;
        };
        self.expected += 1;
        while (received.payload.len() as u64) < payload {
            let missing = payload as usize - received.payload.len();
            let piece = self.buffer.take(missing);
            received.payload.extend_from_slice(piece);
            if (received.payload.len() as u64) < payload {
                self.fill()?;
            }
        }
        Some(received)
    }

    fn fill(&mut self) -> Option<()> {
        let count = self
            .stream
            .read(self.buffer.spare())
            .ok()
            .filter(|c| *c > 0)?;
        self.buffer.filled(count);
        Some(())
    }

    /// Throws away what comes, and returns how many bytes that were.
    pub(crate) fn discard(&mut self) -> u64 {
        let mut bytes = 0;
        loop {
            match self.stream.read(self.buffer.spare()) {
                Ok(count) if count > 0 => bytes += count as u64,
                _ => return bytes,
            }
        }
    }

    pub(crate) fn reply(&self, to: u64, status: CUresult, deferred: CUresult, body: &[u8]) {
        let length = u32::try_from(body.len()).expect("short");
        let header = ReplyHeader::new(to, status, deferred, length, 0);
        self.write(&[header.as_bytes(), body]);
    }

    pub(crate) fn reply_payload(&self, to: u64, payload: &[u8], trailer: CUresult) {
        let header = ReplyHeader::new(to, SUCCESS, SUCCESS, 0, payload.len() as u64);
        self.write(&[header.as_bytes(), payload, &trailer.0.to_le_bytes()]);
    }

    pub(crate) fn print(&self, kind: ReplyKind, text: &[u8]) {
        let length = u32::try_from(text.len()).expect("short");
        self.write(&[ReplyHeader::console(kind, length).as_bytes(), text]);
    }

    /// Writes raw bytes. The client may have gone.
    pub(crate) fn write(&self, parts: &[&[u8]]) {
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|p| IoSlice::new(p)).collect();
        let _ = write_all_vectored(&*self.stream, &mut slices);
    }

    pub(crate) fn close(&self) {
        self.stream.shutdown();
    }
}

/// Where the device's memory begins, far from what a process uses.
const MEMORY_BASE: u64 = 0x0000_2a00_0000_0000;
/// Memory is handed out in steps of this size, so that addresses beyond an allocation are nobody's.
const MEMORY_STEP: u64 = 1 << 30;

/// What the tests' device remembers.
#[derive(Default)]
pub(crate) struct Gpu {
    memory: BTreeMap<u64, Vec<u8>>,
    next: u64,
    deferred: CUresult,
    /// All commands but copies and launches, as they came.
    pub(crate) log: Vec<Received>,
    /// Launches with their parameters.
    pub(crate) launches: Vec<(FunctionNumber, Received)>,
}

impl Gpu {
    fn bytes(&mut self, address: u64, length: u64) -> Option<&mut [u8]> {
        let (base, memory) = self.memory.range_mut(..=address).next_back()?;
        let start = usize::try_from(address - base).ok()?;
        memory.get_mut(start..start + usize::try_from(length).ok()?)
    }

    /// Where the next allocation will be.
    pub(crate) fn next_address(&self) -> u64 {
        MEMORY_BASE + self.next
    }

    /// Whether there is an allocation that begins at `address`.
    pub(crate) fn is_allocated(&self, address: u64) -> bool {
        self.memory.contains_key(&address)
    }

    fn defer(&mut self, status: CUresult) {
        if self.deferred == SUCCESS {
            self.deferred = status;
        }
    }

    fn allocate(&mut self, bytes: u64) -> u64 {
        let address = MEMORY_BASE + self.next;
        self.next += bytes.next_multiple_of(MEMORY_STEP);
        self.memory.insert(address, vec![0xcd; bytes as usize]);
        address
    }

    /// Executes a command; the reply's status and words, if it has one.
    fn execute(&mut self, command: &Received) -> Result<Vec<u64>, CUresult> {
        match command.opcode {
            opcode::cuMemAlloc_v2 if command.word(0) > 1 << 32 => {
                Err(CUresult::CUDA_ERROR_OUT_OF_MEMORY)
            }
            opcode::cuMemAlloc_v2 => Ok(vec![self.allocate(command.word(0))]),
            opcode::cuMemAllocPitch_v2 => {
                let pitch = command.word(0).next_multiple_of(512);
                Ok(vec![self.allocate(pitch * command.word(1)), pitch])
            }
            opcode::cuMemFree_v2 => {
                self.memory.remove(&command.word(0));
                Ok(vec![])
            }
            opcode::cuMemcpyHtoDAsync_v2 => {
                let copy = Copy2D::read_from_bytes(&command.body).expect("a copy");
                for (row, bytes) in command
                    .payload
                    .chunks(copy.width_bytes.get() as usize)
                    .enumerate()
                {
                    let address =
                        copy.device_address.get() + row as u64 * copy.device_pitch_bytes.get();
                    let place = self.bytes(address, bytes.len() as u64);
                    place
                        .expect("the client has checked")
                        .copy_from_slice(bytes);
                }
                Ok(vec![])
            }
            opcode::cuMemsetD8_v2 | opcode::cuMemsetD8Async => {
                let (address, count) = (command.word(0), command.word(2));
                let place = self.bytes(address, count).expect("the client has checked");
                place.fill(command.word(1) as u8);
                Ok(vec![])
            }
            opcode::cuMemcpyDtoD_v2 | opcode::cuMemcpyDtoDAsync_v2 => {
                let (to, from, count) = (command.word(0), command.word(1), command.word(2));
                let bytes = self
                    .bytes(from, count)
                    .expect("the client has checked")
                    .to_vec();
                self.bytes(to, count)
                    .expect("the client has checked")
                    .copy_from_slice(&bytes);
                Ok(vec![])
            }
            opcode::cuLaunchKernel => {
                self.launch(command);
                Ok(vec![])
            }
            opcode::cuModuleGetGlobal_v2 => Ok(vec![self.allocate(16), 16]),
            opcode::cuFuncGetAttribute | opcode::cuKernelGetAttribute => {
                Ok(vec![256, 0, 0, 0, 32, 80, 80, 0, 49_152])
            }
            opcode::cuMemGetInfo_v2 => Ok(vec![1000, 2000]),
            opcode::cuCtxGetStreamPriorityRange => Ok(vec![0, (-5_i64).cast_unsigned()]),
            opcode::cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags => {
                // 1024 threads, and 1 KiB of shared memory a block of 100 KiB.
                let by_shared = 102_400 / command.word(2).max(1);
                Ok(vec![(1024 / command.word(1)).min(by_shared)])
            }
            opcode::cuEventElapsedTime => Ok(vec![u64::from(1.5_f32.to_bits())]),
            opcode::cuStreamQuery => Err(CUresult::CUDA_ERROR_NOT_READY),
            _ => Ok(vec![]),
        }
    }

    /// Kernel 0 adds its second parameter to the bytes that the first leads to; kernel 1 fails.
    fn launch(&mut self, command: &Received) {
        let (launch, rest) = Launch::read_from_prefix(&command.body).expect("a launch");
        let number = FunctionNumber::from_word(launch.function.get());
        let parameters = &rest[launch.attribute_count.get() as usize * 72..];
        assert_eq!(parameters.len(), launch.parameter_bytes.get() as usize);
        if number.kernel == 1 {
            self.defer(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
        }
        if launch.block[0].get() > 256 || launch.shared_bytes.get() > 49_152 {
            self.defer(CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
            return;
        }
        if number.kernel == 0 {
            let address = u64::from_le_bytes(*parameters.first_chunk().expect("an address"));
            let increment = parameters[8];
            let count = u64::from(launch.grid[0].get()) * u64::from(launch.block[0].get());
            let place = self
                .bytes(address, count)
                .expect("the test gives enough memory");
            place
                .iter_mut()
                .for_each(|b| *b = b.wrapping_add(increment));
        }
        self.launches.push((number, command.clone()));
    }
}

/// Serves one client with the device.
pub(crate) fn serve(mut peer: Peer, gpu: &Mutex<Gpu>) {
    while let Some(command) = peer.next() {
        let mut gpu = gpu.lock();
        if !matches!(
            command.opcode,
            opcode::cuMemcpyHtoDAsync_v2 | opcode::cuLaunchKernel
        ) {
            gpu.log.push(command.clone());
        }
        match command.opcode {
            opcode::cuLibraryLoadData | opcode::cuModuleLoadData => {
                load(&peer, &mut gpu, &command);
                continue;
            }
            opcode::cuMemcpyDtoHAsync_v2 => {
                let copy = Copy2D::read_from_bytes(&command.body).expect("a copy");
                let mut payload = Vec::new();
                for row in 0..copy.height.get() {
                    let address = copy.device_address.get() + row * copy.device_pitch_bytes.get();
                    let bytes = gpu.bytes(address, copy.width_bytes.get());
                    payload.extend_from_slice(bytes.expect("the client has checked"));
                }
                peer.reply_payload(command.sequence, &payload, SUCCESS);
                continue;
            }
            _ => {}
        }
        let result = gpu.execute(&command);
        if command.opcode.is_posted() {
            if let Err(status) = result {
                gpu.defer(status);
            }
            continue;
        }
        let deferred = std::mem::take(&mut gpu.deferred);
        let (status, words) = match result {
            Ok(words) => (SUCCESS, words),
            Err(status) => (status, vec![]),
        };
        let body: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        peer.reply(command.sequence, status, deferred, &body);
    }
}

/// Every image holds the same three kernels, unless its text asks for an error.
fn load(peer: &Peer, gpu: &mut Gpu, command: &Received) {
    let (load, options) = Load::read_from_prefix(&command.body).expect("a load");
    assert_eq!(options.len(), load.option_count.get() as usize * 12);
    let deferred = std::mem::take(&mut gpu.deferred);
    if command.payload.starts_with(b"//fail") {
        let status = CUresult::CUDA_ERROR_INVALID_PTX;
        peer.reply(command.sequence, status, deferred, b"line 1: it fails");
        return;
    }
    let kernel = |name: &str, parameters: &[(u32, u32)]| Kernel {
        name: name.into(),
        parameters: parameters.to_vec(),
    };
    let image = LoadedImage {
        kernels: vec![
            kernel("add", &[(0, 8), (8, 1), (12, 4)]),
            kernel("crash", &[]),
            kernel("nothing", &[]),
        ],
    };
    peer.reply(command.sequence, SUCCESS, deferred, &image.encode());
}

/// The device that the process's frontend uses in tests, for one test at a time.
pub(crate) fn gpu() -> &'static Mutex<Gpu> {
    &server().1
}

/// Keeps other tests off the process's frontend.
pub(crate) fn exclusive() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock()
}

/// What the process's frontend finds in tests instead of the environment.
pub(crate) fn environment() -> Environment {
    Environment {
        endpoint: Some(server().0.to_string()),
        token: Some("secret".into()),
        ..Environment::default()
    }
}

fn server() -> &'static (Endpoint, Arc<Mutex<Gpu>>) {
    static SERVER: OnceLock<(Endpoint, Arc<Mutex<Gpu>>)> = OnceLock::new();
    SERVER.get_or_init(|| {
        let any = "tcp://127.0.0.1:1".parse::<Endpoint>().expect("valid");
        let any = match any {
            Endpoint::Tcp { host, .. } => Endpoint::Tcp { host, port: 0 },
            other @ Endpoint::Unix { .. } => other,
        };
        let listener = Listener::bind(&any).expect("a free port");
        let endpoint = listener.endpoint().expect("bound");
        let gpu = Arc::<Mutex<Gpu>>::default();
        let served = gpu.clone();
        std::thread::spawn(move || {
            while let Ok(stream) = listener.accept() {
                let gpu = served.clone();
                std::thread::spawn(move || {
                    let mut peer = Peer::new(stream);
                    welcome(&mut peer);
                    serve(peer, &gpu);
                });
            }
        });
        (endpoint, gpu)
    })
}

/// The server's side of a handshake.
fn welcome(peer: &mut Peer) {
    let announced = loop {
        if let Some(preamble) = peer.buffer.pending().first_chunk::<PREAMBLE_BYTES>() {
            break read_client_preamble(preamble).expect("a hello");
        }
        peer.fill().expect("the client says hello");
    };
    while peer.buffer.pending().len() < PREAMBLE_BYTES + announced.length {
        peer.fill().expect("the client says hello");
    }
    peer.buffer.take(PREAMBLE_BYTES);
    let hello = Hello::decode(peer.buffer.take(announced.length)).expect("a hello");
    assert_eq!(hello.credentials, b"secret");
    let welcome = Welcome {
        session_id: 1,
        snapshot: snapshot(),
    };
    peer.write(&[&Answer::Welcome(welcome).encode()]);
}

fn snapshot() -> Snapshot {
    let attributes = [
        (Attribute::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024),
        (Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X, 1024),
        (Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y, 1024),
        (Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z, 64),
        (Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, i32::MAX),
        (Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y, 65535),
        (Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z, 65535),
        (Attribute::CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32),
        (Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 7),
        (
            Attribute::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR,
            1024,
        ),
        (Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 8),
        (Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 0),
        (Attribute::CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS, 1),
        (Attribute::CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH, 1),
    ];
    let device = |ordinal: u8| Device {
        name: format!("test device {ordinal}"),
        uuid: [ordinal; 16],
        uuid_v2: [ordinal + 16; 16],
        luid: None,
        total_memory_bytes: 1 << 33,
        pci_bus_id: format!("0000:0{ordinal}:00.0"),
        attributes: attributes.map(|(id, value)| (id.0, value)).to_vec(),
    };
    Snapshot {
        driver_version: 12_040,
        devices: vec![device(0), device(1)],
    }
}
