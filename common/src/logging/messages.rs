//! Owns the messages that are worth an alert: each has a name, a number that never changes, and a subject. A log line says
//! which it is (`MESSAGE_ID:% = messages::HOST_LOST`); `packaging/journal/reeve.catalog` says what each means and what to
//! do, which `journalctl -x` shows.
//!
//! ```text
//!   log line ── MESSAGE_ID ──▶ journal ──▶ `journalctl -x`, alerts by `journalctl MESSAGE_ID=…`
//!                  └── the same number ── catalogue: subject, what happened, what it means, what to do
//! ```
//!
//! A number is made once, at random, and is never used for anything else. One that is not needed any more leaves the
//! table and the catalogue together.
//!
//! Must not: log.

use std::fmt;

/// A message worth an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// What it is called on standard error and by people.
    pub name: &'static str,
    /// Its number.
    pub id: u128,
    /// Its subject as in the catalogue; `@FIELD@` stands for a field of the line.
    pub subject: &'static str,
}

impl fmt::Display for Message {
    /// Its number as the journal writes it: 32 digits.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.id)
    }
}

/// The message of a number as the journal writes it.
#[must_use]
pub fn by_id(text: &str) -> Option<&'static Message> {
    let id = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32)?;
    ALL.iter().find(|message| message.id == id)
}

/// Defines the messages and the list of all of them.
macro_rules! messages {
    ($($constant:ident = $name:literal, $id:literal, $subject:literal;)+) => {
        $(
            #[doc = $subject]
            pub const $constant: Message = Message { name: $name, id: $id, subject: $subject };
        )+

        /// All messages there are.
        pub const ALL: &[Message] = &[$($constant),+];
    };
}

messages! {
    HOST_JOINED = "host-joined", 0x5cf8_7b7d_bfd0_4bea_9720_a2c2_7c1b_7c50,
        "Host @REEVE_HOST@ has joined realm @REEVE_REALM@";
    JOIN_REFUSED = "join-refused", 0x17ca_f0e1_83ca_42fc_b18e_327a_769b_c231, "A machine was not let join";
    HOST_CONNECTED = "host-connected", 0xdddf_c3fa_b7ed_43e7_bf55_4451_fed1_7a7b,
        "Host @REEVE_HOST@ is connected";
    HOST_DISCONNECTED = "host-disconnected", 0x51e2_a5e0_26d1_41ac_8f2d_4a45_665d_ecfe,
        "Host @REEVE_HOST@ is not connected any more";
    HOST_LOST = "host-lost", 0x2bef_6f6b_a03e_4386_85bc_dca4_441e_47ba, "Host @REEVE_HOST@ is lost";
    HOST_HEARD_AGAIN = "host-heard-again", 0xf664_bd5f_c220_488f_98d8_971a_c92b_54bc,
        "Host @REEVE_HOST@ is heard again";
    HOST_TURNED_AWAY = "host-turned-away", 0x5a9a_e8af_9b13_4477_8942_62ac_a7a9_9e20,
        "The agent of host @REEVE_HOST@ was turned away";
    PEER_REFUSED = "peer-refused", 0xa83f_5fde_4775_4bd2_b814_5301_68e5_497c,
        "Somebody at the port for agents was refused";
    VERSION_SKEW = "version-skew", 0x591e_e255_7433_4509_b5f1_fc91_d2ee_125a,
        "Agent and coordinator have no protocol version in common";
    PROTOCOL_VIOLATED = "protocol-violated", 0x8c3d_bee1_f777_4918_98f9_70b9_ec7e_7598,
        "A peer sent what is no message";
    COORDINATOR_CONNECTED = "coordinator-connected", 0x5415_e6cd_c828_4adf_96d9_de79_abd9_92b9,
        "This host is connected to its coordinator";
    COORDINATOR_DISCONNECTED = "coordinator-disconnected", 0x057b_accd_1ce7_41d5_b1ef_9d78_1df7_cd3e,
        "This host has lost its coordinator";
    NOT_LET_IN = "not-let-in", 0x2e90_0534_0b8a_44ac_9cd8_b710_81d8_71e1,
        "The coordinator does not let this host in";
    CERTIFICATE_EXPIRED = "certificate-expired", 0x7cb8_2261_8258_4411_8a76_4f95_102e_52d2,
        "The certificate of this host has expired";
    CERTIFICATE_NEAR_END = "certificate-near-end", 0xfc8c_6436_1879_4c8a_8821_e944_5f87_f9b4,
        "The certificate of this host nears its end and is not renewed";
    CERTIFICATE_NOT_RENEWED = "certificate-not-renewed", 0x470e_3298_ee8b_4108_8ff4_9671_7c6f_a23d,
        "A certificate was not renewed";
    AUTHORITY_NOT_USABLE = "authority-not-usable", 0xdfdd_6af6_8c3a_4028_b887_fa8f_671a_e658,
        "The certificate of the coordinator was not renewed";
    COORDINATOR_READY = "coordinator-ready", 0xc936_e38f_71f7_4191_ad18_7bf9_0e42_219c,
        "The coordinator is ready";
    COORDINATOR_STOPPING = "coordinator-stopping", 0x9ec8_055a_64b8_4c38_869b_2e30_18e0_9ab4,
        "The coordinator goes down";
    COORDINATOR_DEPOSED = "coordinator-deposed", 0xf08c_c2f4_d0e8_4f00_92c0_f86a_f335_4686,
        "Another coordinator has taken over";
    COORDINATOR_NOT_OBEYED = "coordinator-not-obeyed", 0x17fe_ddeb_91f1_4582_86d0_db0c_7757_4f15,
        "A coordinator of the past is not obeyed";
    AGENT_STARTED = "agent-started", 0x1dbb_4668_9808_4b29_8560_4c33_79a1_dce3,
        "The agent of host @REEVE_HOST@ has started";
    AGENT_STOPPING = "agent-stopping", 0x6bf0_527f_f888_49fd_83d5_991c_007f_51f5,
        "The agent of host @REEVE_HOST@ stops";
    VM_REQUESTED = "vm-requested", 0x0776_09ae_c5f9_4327_bbc1_b3aa_6c51_fefe, "VM @REEVE_VM@ was requested";
    VM_STATE_CHANGED = "vm-state-changed", 0xeb6b_4644_7bac_4836_96dd_f34a_e980_4926,
        "VM @REEVE_VM@ is in another state";
    VM_UNPLACEABLE = "vm-unplaceable", 0x40a9_b9b3_8a81_4de7_a2bd_50bc_a8ac_88d0,
        "VM @REEVE_VM@ has no place";
    VM_FAILED = "vm-failed", 0x2319_b744_d1f2_4647_94d2_f3e2_a00b_2c7c, "VM @REEVE_VM@ has failed";
    VM_ENDED = "vm-ended", 0x14d8_d759_4556_4cc5_92c7_4bbc_d3aa_e53b, "VM @REEVE_VM@ has ended by itself";
    VM_REGISTERED_TOO_LATE = "vm-registered-too-late", 0x8e53_49ae_1e3b_4563_90be_e89f_68be_bfcd,
        "VM @REEVE_VM@ was terminated: its guest gave no sign of life in time";
    VM_NEEDS_DECISION = "vm-needs-decision", 0xb1ac_9439_745d_4138_a58e_6840_8a4e_0749,
        "VM @REEVE_VM@ needs a decision";
    VM_LEAVES_LOST_HOST = "vm-leaves-lost-host", 0x6df3_aec5_1f25_4c40_ace8_bd00_3183_23ac,
        "VM @REEVE_VM@ leaves a lost host and is started elsewhere";
    VM_STEP_FAILED = "vm-step-failed", 0xef91_e3bf_cb11_4dbd_b502_3db5_a932_5854,
        "A step of VM @REEVE_VM@ failed on its host";
    VM_TASK_FAILED = "vm-task-failed", 0xb2fb_8632_b5fb_4dc1_9dca_beb6_b227_0bd3,
        "The task that keeps VM @REEVE_VM@ failed";
    VM_NOT_DESTROYED = "vm-not-destroyed", 0x5dec_a9b0_befe_4e79_9454_83d2_cf5f_abcb,
        "A VM outlives the lease of its host";
    PLACEMENT_CONTRADICTED = "placement-contradicted", 0x58f5_a225_493f_4576_bff8_b304_13a9_563c,
        "A host was chosen for VM @REEVE_VM@ that it does not fit";
    LEDGER_SPOILT = "ledger-spoilt", 0x03cc_0e39_6851_4292_90f1_7a21_1c5f_e335,
        "The ledger of VM @REEVE_VM@ cannot be read";
    FOREIGN_DOMAIN_IN_THE_WAY = "foreign-domain-in-the-way", 0x0282_3e01_5465_4241_aed5_1b20_d7a8_b72f,
        "A domain that is not ours has the id of VM @REEVE_VM@";
    LIBVIRT_UNREACHABLE = "libvirt-unreachable", 0xd990_9658_cd74_4627_8031_00a4_4c70_7ca2,
        "libvirt on host @REEVE_HOST@ cannot be reached";
    LIBVIRT_BACK = "libvirt-back", 0x5cdb_f4aa_fe89_4fa7_b279_1c4c_0db3_f24e,
        "libvirt on host @REEVE_HOST@ answers again";
    KVM_UNUSABLE = "kvm-unusable", 0xb52c_5292_728f_46b7_ba53_3c84_4026_3373,
        "KVM is not usable on host @REEVE_HOST@";
    LEASE_RAN_OUT = "lease-ran-out", 0x9be0_af9d_fe5d_4e1f_b5d9_f655_8616_28c9,
        "The lease of host @REEVE_HOST@ has run out";
    WATCHDOG_MISSING = "watchdog-missing", 0xf331_30db_3847_45f6_b36f_85cb_2efc_0a5c,
        "No watchdog stands behind the lease of host @REEVE_HOST@";
    WATCHDOG_FAILING = "watchdog-failing", 0x11ca_277f_7c8a_4b31_9845_a10a_1268_74a3,
        "The watchdog of host @REEVE_HOST@ does not take what it is told";
    STATE_NOT_WRITTEN = "state-not-written", 0x12b7_548a_86e8_460b_b6c7_9e27_5e73_dd5c,
        "The agent of host @REEVE_HOST@ cannot write or read its state";
    WITNESS_CONTRADICTS = "witness-contradicts", 0x9911_5402_7830_4f49_8b5f_788c_2d30_4de0,
        "The audit log contradicts what this host witnessed";
    FENCING_BEGUN = "fencing-begun", 0xe6c1_947e_cdb9_4463_96be_f287_0522_5fa2,
        "Host @REEVE_HOST@ is being fenced";
    HOST_FENCED = "host-fenced", 0x620e_64ab_37c5_40a4_b270_634a_586a_78c9,
        "Host @REEVE_HOST@ is off: it was fenced";
    FENCING_FAILED = "fencing-failed", 0x9a1d_e4e7_1b6f_43af_8bc9_e181_14d5_166e,
        "Host @REEVE_HOST@ was not fenced";
    FENCE_NOT_BELIEVED = "fence-not-believed", 0xdcb3_34cb_2b05_4831_95bf_52ff_e20f_3fbc,
        "Host @REEVE_HOST@ was said to be off and was not";
    HOST_CONFIRMED_OFF = "host-confirmed-off", 0x2a85_41c5_7354_4382_bb49_7b54_1405_4bb4,
        "Somebody states that host @REEVE_HOST@ is off";
    REALM_BRAKED = "realm-braked", 0xf232_112f_5ef1_446f_a61b_921e_a0ea_e144,
        "Realm @REEVE_REALM@ is braked: too many hosts are silent";
    REALM_RELEASED = "realm-released", 0xac60_2f73_cc8e_4149_ad48_4bb5_cf3c_5675,
        "Realm @REEVE_REALM@ is not braked any more";
    FAILOVER_BEGUN = "failover-begun", 0x9963_6e40_9854_4ad1_beb6_b279_3a26_cc23,
        "VMs of lost host @REEVE_HOST@ are to be restarted elsewhere";
    WORKFLOW_STUCK = "workflow-stuck", 0x10a8_9bf9_9650_4ae4_a95e_4c69_347b_708f,
        "A workflow about host @REEVE_HOST@ is stuck";
    WORKFLOW_UNDONE = "workflow-undone", 0x361a_61d7_33b3_46a8_8dcc_a90e_2216_aabc,
        "A workflow about host @REEVE_HOST@ was undone";
    STORE_BROKEN = "store-broken", 0x2594_ddb5_3f70_4b9f_a69e_464d_aa20_ef58,
        "The store takes no more writes";
    STORE_FULL = "store-full", 0x07d3_3ddb_c455_4a19_9e7b_18df_6da8_9dbd, "The disk of the store is full";
    STORE_REFUSED = "store-refused", 0xedcc_e841_6079_4d24_b4df_5642_082a_6cc2, "The store refused a change";
    NOT_RECORDED = "not-recorded", 0xb48e_cc0d_7cef_4b37_86a5_66d3_1174_d297,
        "Something that happened could not be recorded";
    AUDIT_NOT_RECORDED = "audit-not-recorded", 0x8d9e_e578_abb5_431d_8fec_6abd_021f_6533,
        "The audit log lacks a record";
    AUDIT_CONTRADICTED = "audit-contradicted", 0xf966_1e90_ecd2_4c58_a348_8bc2_1d50_0ef8,
        "Host @REEVE_HOST@ contradicts the audit log";
    CONFIGURATION_REFUSED = "configuration-refused", 0xe3ab_4688_bf26_4e77_8c94_6cfa_5caf_2e1d,
        "The configuration was not read anew";
    CONFIGURATION_READ = "configuration-read", 0x8774_d00e_ad8e_4cc5_95d6_d172_8bb1_a271,
        "The configuration was read anew";
    NO_HOST_CAN_JOIN = "no-host-can-join", 0xde1c_c8e7_f44e_4896_8b0a_dd04_e2d5_3249, "No host can join";
    LINES_LOST = "lines-lost", 0xfe28_b3d0_9d62_4af5_afc7_64a2_eb0c_7314, "The journal did not take all lines";
    COORDINATOR_FAILED = "coordinator-failed", 0xa452_60a2_9af3_4a04_a04c_b780_db83_bd7d,
        "The coordinator cannot run";
    AGENT_FAILED = "agent-failed", 0xcea2_79bc_f7f0_4db1_8dbf_4b6f_baef_4a28,
        "The agent of this host cannot run";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_numbers_are_each_one_messages() {
        let names: BTreeSet<&str> = ALL.iter().map(|message| message.name).collect();
        let ids: BTreeSet<u128> = ALL.iter().map(|message| message.id).collect();
        assert_eq!((names.len(), ids.len()), (ALL.len(), ALL.len()));
    }

    #[test]
    fn a_message_is_found_by_its_number_as_it_is_written() {
        assert_eq!(by_id(&HOST_LOST.to_string()), Some(&HOST_LOST));
        assert_eq!(HOST_LOST.to_string().len(), 32);
        for nothing in ["", "1", "g", "00000000000000000000000000000000"] {
            assert_eq!(by_id(nothing), None);
        }
    }
}
