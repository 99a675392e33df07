//! `foobar-agent verify`: whether this kernel takes the datapath, and what it costs its verifier.
//! Attaches nothing and needs no agent.

use foobar_ebpf::abi::image::{DIAGRAMS_MAX, HEADER_UNITS, Header, Unit};
use foobar_ebpf::abi::{SERVICES_MAX, setting};
use foobar_ebpf::verdict::Verdict;
use serde::Serialize;

use super::Output;
use super::arguments::VerifyOptions;
use super::print::{self, Style};
use crate::config::model::{Service, ServiceProtocol};
use crate::firewall::compile::compile;
use crate::firewall::generation::Generation;
use crate::firewall::numbers::InterfaceNumbers;
use crate::firewall::ruleset::{Essentials, Ruleset};
use crate::kernel::offline::Bed;

/// Instructions that a verifier follows at most (`BPF_COMPLEXITY_LIMIT_INSNS`, Linux 5.2).
const LIMIT: u32 = 1_000_000;

/// A program that rules can lead to.
#[derive(Serialize)]
struct Program {
    what: &'static str,
    instructions: u32,
    limit: u32,
}

pub(super) fn verify(options: &VerifyOptions, style: Style) -> Output {
    let noted = setting::LIMITS | setting::LOG;
    let variants = [
        ("nothing is judged", None, 0, 0, 0),
        ("rules in one diagram", Some(Verdict::Drop), 1, 0, 0),
        ("rules in one diagram, reject", Some(Verdict::Reject), 1, 0, 0),
        ("rules in one diagram, rates and logs", Some(Verdict::Drop), 1, 0, noted),
        ("rules in four diagrams, reject, 16 services", Some(Verdict::Reject), DIAGRAMS_MAX, SERVICES_MAX, 0),
        ("all of that", Some(Verdict::Reject), DIAGRAMS_MAX, SERVICES_MAX, noted),
    ];
    let mut programs = Vec::with_capacity(variants.len());
    for (what, default, diagrams, services, flags) in variants {
        let mut generation = generation(default, diagrams, services)?;
        generation.flags |= flags;
        let mut bed = Bed::new(&generation)?;
        programs.push(Program { what, instructions: bed.verified_instructions()?, limit: LIMIT });
        if diagrams == DIAGRAMS_MAX {
            let instructions = bed.verified_egress_instructions()?;
            programs.push(Program { what: "packets that leave, four diagrams", instructions, limit: LIMIT });
        }
    }
    if options.json {
        return print::json(&programs);
    }
    let row = |program: &Program| {
        let share = f64::from(program.instructions) * 100.0 / f64::from(program.limit);
        vec![program.what.to_owned(), style.count(program.instructions.into()), format!("{share:.1} %")]
    };
    Ok(style.table(
        &["program", "instructions verified", "of what the verifier allows"],
        programs.iter().map(row),
    ))
}

/// Without a rule: how many there are, the verifier does not see.
fn generation(default: Option<Verdict>, diagrams: usize, services: usize) -> anyhow::Result<Generation> {
    let ruleset = default.map(|default| Ruleset {
        default,
        essentials: Essentials::ALL,
        flows: true,
        rules: Vec::new(),
    });
    let service = |port: u16| Service { name: format!("s{port}"), port, protocol: ServiceProtocol::Http };
    let services: Vec<Service> = (1..).take(services).map(service).collect();
    let mut generation = compile(ruleset.as_ref(), &services, &mut InterfaceNumbers::default())?;
    // An image has a start for each diagram that there can be; those of no rules lead to the policy.
    if let Some(header) = generation.header().copied() {
        let header = Header { diagrams: u32::try_from(diagrams)?, ..header };
        generation.image[..HEADER_UNITS].copy_from_slice(&Unit::of_header(header));
    }
    Ok(generation)
}
