//! Many different packets for measurements: one test run in which every packet is another, and frames
//! onto a wire as fast as one core makes them. Its programs are those of `foobar-ebpf/src/bin/traffic.rs`,
//! which the caller brings; no agent has them.

use aya::maps::{Array, MapData, ProgramArray};
use aya::programs::{ProgramInfo, TestRun, TestRunAttrs, TestRunOptions, Xdp, loaded_programs};
use aya::{Ebpf, EbpfLoader};
use aya_obj::programs::XdpAttachType;
use foobar_ebpf::abi::program::PASS;
use foobar_ebpf::abi::traffic::{FRAME_BYTES_MIN, Head, constant, map, program};

use super::error::KernelError;
use super::loader::clamp_u32;
use super::offline::{Bed, Ran, test_run};
use super::value::Plain;

/// Frames that the kernel sends before it lets the other end take them; its own default.
const BATCH: u32 = 64;

/// `struct xdp_md` of the kernel's user interface: six words, of which the second says where data end.
const CONTEXT_WORDS: usize = 6;
const CONTEXT_DATA_END: usize = 1;

// SAFETY: a `repr(transparent)` array of integers.
unsafe impl aya::Pod for Plain<Head> {}

/// A table of frames, and the programs that take one after the other from it.
pub struct Traffic {
    ebpf: Ebpf,
    target: ProgramArray<MapData>,
    target_plain: ProgramArray<MapData>,
    /// Held open: a program that is loaded later refers to it.
    heads: Array<MapData, Plain<Head>>,
}

impl Traffic {
    /// Loads the object of the programs with frames, cut or repeated to the next power of two. They go
    /// out, should they be sent, of an interface of the caller's network namespace.
    ///
    /// # Errors
    /// When there is no frame, or the kernel refuses the object.
    pub fn load(object: &[u8], frames: &[Vec<u8>], out_ifindex: u32) -> Result<Self, KernelError> {
        let entries = clamp_u32(frames.len().next_power_of_two());
        let mut loader = EbpfLoader::new();
        loader.map_max_entries(map::HEADS, entries);
        let mask = entries - 1;
        loader.override_global(constant::HEADS_MASK, &mask, true);
        loader.override_global(constant::OUT_IFINDEX, &out_ifindex, true);
        let mut ebpf = loader.load(object).map_err(KernelError::bpf("cannot load the traffic"))?;
        let heads = ebpf.take_map(map::HEADS).ok_or(KernelError::Missing(map::HEADS))?;
        let mut heads: Array<MapData, Plain<Head>> =
            heads.try_into().map_err(KernelError::bpf("unexpected map"))?;
        for (index, frame) in (0..entries).zip(frames.iter().cycle()) {
            heads.set(index, Plain(Head::of(frame)), 0).map_err(KernelError::bpf("cannot enter a frame"))?;
        }
        let mut target = |name| {
            let array = ebpf.take_map(name).ok_or(KernelError::Missing(name))?;
            ProgramArray::try_from(array).map_err(KernelError::bpf("unexpected map"))
        };
        let (target, target_plain) = (target(map::TARGET)?, target(map::TARGET_PLAIN)?);
        Ok(Self { ebpf, target, target_plain, heads })
    }

    /// How many frames there are in the table.
    pub fn frames(&self) -> u32 {
        self.heads.len()
    }

    /// Has a generation judge the next `repeat` frames of the table.
    ///
    /// # Errors
    /// When the kernel does not run them.
    pub fn run(&mut self, bed: &mut Bed, repeat: u32) -> Result<Ran, KernelError> {
        let judge = bed.instance.judge()?;
        enter(&mut self.target, judge)?;
        test_run(self.program(program::VARY)?, &blank(), repeat)
    }

    /// Takes the next `repeat` frames and has nothing done with them: what a measurement subtracts.
    ///
    /// # Errors
    /// As for [`Traffic::run`].
    pub fn run_empty(&mut self, bed: &mut Bed, repeat: u32) -> Result<Ran, KernelError> {
        enter(&mut self.target, bed.instance.program(PASS)?)?;
        test_run(self.program(program::VARY)?, &blank(), repeat)
    }

    /// As [`Traffic::run`], through somebody else's program that takes frames of one buffer.
    ///
    /// # Errors
    /// As for [`Traffic::run`].
    pub fn run_foreign(&mut self, foreign: &Foreign, repeat: u32) -> Result<Ran, KernelError> {
        enter(&mut self.target_plain, &foreign.program)?;
        test_run(self.program(program::VARY_PLAIN)?, &blank(), repeat)
    }

    /// What a measurement of [`Traffic::run_foreign`] subtracts.
    ///
    /// # Errors
    /// As for [`Traffic::run`].
    pub fn run_foreign_empty(&mut self, repeat: u32) -> Result<Ran, KernelError> {
        self.program(program::PASS_PLAIN)?;
        let pass = self.ebpf.program(program::PASS_PLAIN).ok_or(KernelError::Missing(program::PASS_PLAIN))?;
        let pass: &Xdp = pass.try_into().map_err(KernelError::bpf("unexpected program"))?;
        enter(&mut self.target_plain, pass)?;
        test_run(self.program(program::VARY_PLAIN)?, &blank(), repeat)
    }

    /// Puts `count` frames onto the wire, from the core of the caller. The far end takes them on the
    /// same core, because that is where they arrive.
    ///
    /// # Errors
    /// When the kernel does not run them (Linux 5.18).
    pub fn send(&mut self, count: u32) -> Result<(), KernelError> {
        let frame = blank();
        let mut context = [0; CONTEXT_WORDS];
        context[CONTEXT_DATA_END] = clamp_u32(frame.len());
        let context = context.map(u32::to_ne_bytes);
        let options = TestRunOptions {
            data_in: Some(&frame),
            ctx_in: Some(context.as_flattened()),
            repeat: count,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::default()
        };
        let send = self.program(program::SEND)?;
        send.test_run(options).map(drop).map_err(KernelError::bpf("the kernel does not send frames"))
    }

    fn program(&mut self, name: &'static str) -> Result<&mut Xdp, KernelError> {
        let program = self.ebpf.program_mut(name).ok_or(KernelError::Missing(name))?;
        let program: &mut Xdp = program.try_into().map_err(KernelError::bpf("unexpected program"))?;
        if program.fd().is_err() {
            program.load().map_err(KernelError::bpf("cannot load a program of the traffic"))?;
        }
        Ok(program)
    }
}

/// The frame that heads are written over.
fn blank() -> [u8; FRAME_BYTES_MIN] {
    [0xff; FRAME_BYTES_MIN]
}

fn enter(slot: &mut ProgramArray<MapData>, target: &Xdp) -> Result<(), KernelError> {
    let target = target.fd().map_err(KernelError::bpf("cannot use the program"))?;
    slot.set(0, target, 0).map_err(KernelError::bpf("cannot enter the program under test"))
}

/// A loaded XDP program of somebody else, for test runs.
pub struct Foreign {
    program: Xdp,
}

impl Foreign {
    /// The program with a number of the kernel's.
    ///
    /// # Errors
    /// When there is none, or it is of another kind.
    pub fn by_id(id: u32) -> Result<Self, KernelError> {
        let mut programs = loaded_programs().filter_map(Result::ok);
        let info: ProgramInfo =
            programs.find(|info| info.id() == id).ok_or(KernelError::Missing("program of that number"))?;
        let program = Xdp::from_program_info(info, "foreign".into(), XdpAttachType::Interface)
            .map_err(KernelError::bpf("cannot use the program"))?;
        Ok(Self { program })
    }

    /// Judges a frame `repeat` times.
    ///
    /// # Errors
    /// When the kernel does not run it.
    pub fn run(&mut self, frame: &[u8], repeat: u32) -> Result<Ran, KernelError> {
        test_run(&mut self.program, frame, repeat)
    }
}
