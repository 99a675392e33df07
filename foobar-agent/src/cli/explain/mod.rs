//! `foobar-agent explain`: what the rules make of given packets, one after the other, without an agent.

mod options;
mod print;
mod progress;
mod rules;
mod source;

use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::anyhow;

pub(super) use self::options::ExplainOptions;
use self::print::{Answer, Printer, Totals};
use self::rules::Rules;
pub(super) use self::source::{STDIN, for_each_frame};
use super::print::Style;
use super::{Failure, Output};
use crate::explain::hex::ReadError;
use crate::explain::judge::Judge;
use crate::explain::{Frame, hex, words};

/// Writes as it goes: a capture has more packets than memory should hold.
pub(super) fn explain(options: &ExplainOptions, style: Style) -> Output {
    let packet = single(options)?;
    let interface = packet.interface(options)?;
    let (rules, program) = match &options.config {
        Some(file) => Rules::of_file(file, interface)?,
        None => Rules::of_agent(options.run_dir.clone(), interface, options.why.is_some())?,
    };
    let mut session = Session {
        judge: Judge::new(program, &rules.generation, rules.logical)?,
        printer: Printer::new(&rules, options.why),
        totals: Totals::default(),
        index: 0,
        out: BufWriter::with_capacity(1 << 16, io::stdout()),
        options,
        is_single: matches!(packet, Packets::One(..)),
    };
    let done = match &packet {
        Packets::One(frame, _) => session.take(frame),
        Packets::Capture(file) => session.take_capture(file, style),
    };
    match done.and_then(|()| Ok(session.out.flush()?)) {
        // Whoever reads may go away early (`| head`): that is no failure.
        Err(error) if is_broken_pipe(&error) => Ok(String::new()),
        Err(error) => {
            let _ = session.out.flush();
            Err(error)
        }
        Ok(()) => Ok(String::new()),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error.downcast_ref().is_some_and(kind)
}

/// What to judge.
enum Packets<'a> {
    /// One, and the interface that its words name.
    One(Frame, Option<String>),
    /// Those of a file.
    Capture(&'a Path),
}

impl Packets<'_> {
    /// The arrival interface, if the command line names one.
    fn interface<'a>(&'a self, options: &'a ExplainOptions) -> Result<Option<&'a str>, Failure> {
        let said = match self {
            Self::One(_, said) => said.as_deref(),
            Self::Capture(_) => None,
        };
        match (options.interface.as_deref(), said) {
            (Some(option), Some(said)) if option != said => Err(Failure::Usage(anyhow!(
                "the packet arrives `on {said}` and with `--interface {option}`: leave one of them out"
            ))),
            (option, said) => Ok(option.or(said)),
        }
    }
}

fn single(options: &ExplainOptions) -> anyhow::Result<Packets<'_>> {
    if let Some(file) = &options.pcap {
        return Ok(Packets::Capture(file));
    }
    let usage = |error: anyhow::Error| Failure::Usage(error);
    match options.hex.as_deref() {
        None => {
            let words = words::parse(&options.words.join(" ")).map_err(|error| usage(error.into()))?;
            Ok(Packets::One(words.packet.frame(), words.interface))
        }
        Some(digits) => {
            let bytes = if digits == STDIN {
                hex::read(io::stdin()).map_err(|error| match error {
                    ReadError::Io(error) => anyhow::Error::from(error),
                    ReadError::Hex(error) => usage(error.into()).into(),
                })?
            } else {
                hex::parse(digits).map_err(|error| usage(error.into()))?
            };
            Ok(Packets::One(Frame::whole(bytes), None))
        }
    }
}

/// Packets on their way from where they lie to standard output.
struct Session<'a> {
    judge: Judge,
    printer: Printer<'a>,
    totals: Totals,
    index: u64,
    out: BufWriter<io::Stdout>,
    options: &'a ExplainOptions,
    is_single: bool,
}

impl Session<'_> {
    fn take(&mut self, frame: &Frame) -> anyhow::Result<()> {
        let (judged, parsed) = self.judge.judge(frame)?;
        let answer = Answer { index: self.index, frame, parsed: &parsed, judged };
        if self.options.json {
            self.printer.object(&answer, &mut self.out)?;
        } else if self.options.summary {
            self.totals.add(&judged);
        } else if self.is_single {
            self.printer.block(&answer, &mut self.out)?;
        } else {
            self.totals.add(&judged);
            self.printer.line(&answer, &mut self.out)?;
        }
        self.index += 1;
        Ok(())
    }

    /// Every record that can be read is judged, and its line written, also where a later one cannot.
    fn take_capture(&mut self, file: &Path, style: Style) -> anyhow::Result<()> {
        let prints_packets = !self.options.summary;
        let is_live = file == Path::new(STDIN) && prints_packets;
        let ended = for_each_frame(file, prints_packets, |frame| {
            self.take(frame)?;
            // Whoever pipes a live capture waits for its lines.
            if is_live { Ok(self.out.flush()?) } else { Ok(()) }
        });
        if !self.options.json {
            if prints_packets && self.index > 0 {
                writeln!(self.out)?;
            }
            write!(self.out, "{}", self.totals.table(self.printer.rules(), style))?;
        }
        ended
    }
}
