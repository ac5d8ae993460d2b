//! The list. Numbers of claims are those of SECURITY.md; the table for people is docs/malice.md.

/// Which test finds a bug, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caught {
    /// The test, which passes without it, fails with it; [`crate::caught_in`] shows it in each run of the tests.
    Fails {
        /// Source of the test, relative to the repository.
        file: &'static str,
        /// The test, as its test program names it.
        test: &'static str,
    },
    /// The test switches it on and asserts who finds it.
    Found {
        /// Source of the test, relative to the repository.
        file: &'static str,
        /// The test, as its test program names it.
        test: &'static str,
    },
}

impl Caught {
    /// Source and name of the test.
    #[must_use]
    pub fn by(self) -> (&'static str, &'static str) {
        match self {
            Self::Fails { file, test } | Self::Found { file, test } => (file, test),
        }
    }
}

macro_rules! bugs {
    ($($what:literal $bug:ident $name:literal at $site:literal breaks $breaks:literal $caught:ident $file:literal $test:literal;)*) => {
        /// A seeded bug, or a lie of a malicious node.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Bug {
            $(#[doc = $what] $bug,)*
        }

        impl Bug {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$bug),*];

            /// Its name, for the variable and on command lines.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$bug => $name,)* }
            }

            /// What it does, for people.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self { $(Self::$bug => $what,)* }
            }

            /// The source that it is in, relative to the repository.
            #[must_use]
            pub const fn site(self) -> &'static str {
                match self { $(Self::$bug => $site,)* }
            }

            /// The claim or invariant that does not hold with it.
            #[must_use]
            pub const fn breaks(self) -> &'static str {
                match self { $(Self::$bug => $breaks,)* }
            }

            /// What finds it.
            #[must_use]
            pub const fn caught(self) -> Caught {
                match self { $(Self::$bug => Caught::$caught { file: $file, test: $test },)* }
            }
        }
    };
}

bugs! {
    // crypto
    "The hash of an audit leaf is made as that of an inner node."
    LeafAsNode "leaf-as-node" at "crypto/src/merkle/mod.rs" breaks "claim 12"
        Fails "crypto/tests/merkle.rs" "roots_are_those_of_certificate_transparency";
    "A combined key is not compared with the key commitment."
    KeyCommitmentUnchecked "key-commitment-unchecked" at "crypto/src/dealing/open.rs" breaks "claim 6"
        Fails "crypto/tests/binding.rs" "fragments_of_two_dealings_of_one_value_do_not_mix";
    "A fragment is not compared with its commitment."
    FragmentUnchecked "fragment-unchecked" at "crypto/src/dealing/fragment.rs" breaks "claim 6"
        Fails "custody/tests/fragments.rs" "content_that_is_not_the_fragment_blames_the_author";
    "The key of a fragment at rest does not hang on its context."
    OwnFragmentWithoutContext "own-fragment-without-context" at "crypto/src/own.rs" breaks "claim 4"
        Fails "crypto/src/own.rs" "own::tests::an_own_fragment_comes_back_under_its_epoch_key_and_dealing_only";
    "A witness takes a larger tree without its proof."
    ConsistencyUnproved "consistency-unproved" at "crypto/src/witness.rs" breaks "claim 12"
        Fails "custody/tests/witness.rs" "a_smaller_or_unproved_tree_is_not_cosigned_and_what_is_known_is_told";

    // policy
    "A forbid whose evaluation fails is passed over, as Cedar does by itself."
    FailedForbidSkipped "failed-forbid-skipped" at "policy/src/set.rs" breaks "docs/proofs.md: any error denies"
        Fails "policy/tests/deciding.rs" "an_overflow_in_a_forbid_denies_although_cedar_would_skip_it";

    // state
    "Other bytes under a nonce that was used get the outcome that is recorded for it."
    RetryWithOtherBytes "retry-with-other-bytes" at "state/src/commands.rs" breaks "docs/proofs.md: a changed retry is refused"
        Fails "state/tests/writes.rs" "a_retry_with_changed_bytes_under_one_nonce_is_refused";
    "A command's signature is not verified."
    SignatureUnchecked "signature-unchecked" at "state/src/commands.rs" breaks "claim 7"
        Fails "state/tests/commands.rs" "a_signature_over_other_bytes_is_refused";
    "One operator's signature counts as often as it is there."
    OperatorCountsTwice "operator-counts-twice" at "state/src/commands.rs" breaks "claim 7"
        Fails "state/tests/commands.rs" "policies_need_as_many_operators_as_the_roster_says";
    "A write is not compared with the version that it says it follows."
    CheckAndSetIgnored "check-and-set-ignored" at "state/src/secrets.rs" breaks "reads and writes of one secret are linearizable"
        Fails "state/tests/writes.rs" "two_writers_of_one_version_get_one_success_and_one_conflict";
    "Policy is not asked when a write is applied."
    PolicyNotAskedAtApply "policy-not-asked-at-apply" at "state/src/secrets.rs" breaks "docs/proofs.md: deny by default"
        Fails "state/tests/writes.rs" "without_policies_nobody_may_write";
    "A destroyed version keeps its dealing."
    DestroyedStays "destroyed-stays" at "state/src/secrets.rs" breaks "docs/proofs.md: what is destroyed stays so"
        Fails "state/tests/versions.rs" "a_destroyed_version_leaves_no_dealing_nobody_waits_for_it_and_each_node_is_told_to_erase_its_fragment";
    "A version is shown past its time to live."
    TimeToLiveIgnored "time-to-live-ignored" at "state/src/query.rs" breaks "claim 10"
        Fails "state/tests/writes.rs" "a_version_past_its_time_to_live_is_not_shown";
    "A removed principal goes on."
    RemovedStaysLive "removed-stays-live" at "state/src/query.rs" breaks "claim 8"
        Fails "state/tests/commands.rs" "a_removed_principal_its_name_and_its_key_never_come_back";
    "Log time follows the median backwards."
    LogTimeGoesBack "log-time-goes-back" at "state/src/clock.rs" breaks "claim 10"
        Fails "state/tests/commands.rs" "log_time_is_the_lower_median_and_never_goes_back";
    "Log time stands still."
    LogTimeStandsStill "log-time-stands-still" at "state/src/clock.rs" breaks "claim 10"
        Fails "state/tests/commands.rs" "log_time_is_the_lower_median_and_never_goes_back";
    "One clock moves log time."
    OneClockIsEnough "one-clock-is-enough" at "state/src/clock.rs" breaks "claim 10"
        Fails "state/tests/commands.rs" "log_time_is_the_lower_median_and_never_goes_back";
    "Two readings of one node count as two clocks."
    ReadingsCountAlone "readings-count-alone" at "state/src/machine.rs" breaks "claim 10"
        Fails "state/tests/commands.rs" "two_clocks_that_are_an_hour_ahead_at_different_times_do_not_move_log_time";
    "A clock reading counts without its node's signature."
    TickUnsigned "tick-unsigned" at "state/src/machine.rs" breaks "claim 10"
        Fails "state/tests/commands.rs" "a_tick_of_an_earlier_boot_or_by_another_node_counts_nothing";
    "Boot keys replace those of a later boot."
    BootCounterIgnored "boot-counter-ignored" at "state/src/machine.rs" breaks "claim 13"
        Fails "state/tests/commands.rs" "boot_keys_need_the_identity_key_and_a_higher_counter";
    "The feature level rises before every node supports it."
    LevelTooEarly "level-too-early" at "state/src/machine.rs" breaks "equal chains and state roots at equal index"
        Fails "state/tests/commands.rs" "the_feature_level_rises_only_when_every_node_supports_it";
    "The feature level rises when t nodes support it, not all."
    LevelByMajority "level-by-majority" at "state/src/machine.rs" breaks "equal chains and state roots at equal index"
        Fails "state/tests/upgrade.rs" "in_no_mixture_of_builds_does_the_level_rise_and_no_node_stops";
    "The next build does what comes with its level at once, whatever level is in force."
    NextAtOnce "next-at-once" at "state/src/levels.rs" breaks "equal chains and state roots at equal index"
        Fails "state/tests/upgrade.rs" "below_the_level_two_builds_apply_every_log_alike";
    "A dealing may use another dealer's sealing session."
    SessionOfAnotherDealer "session-of-another-dealer" at "state/src/dealings.rs" breaks "claim 4"
        Fails "state/tests/writes.rs" "a_session_of_another_dealer_is_refused";
    "A complaint about a good fragment blames its author."
    ComplaintBelieved "complaint-believed" at "state/src/dealings.rs" breaks "claim 6"
        Fails "state/tests/fragments.rs" "a_complaint_about_a_good_fragment_blames_the_complainer_and_changes_nothing";

    // custody
    "A permit is used with the receipt of another decision."
    PermitForAnother "permit-for-another" at "custody/src/gate.rs" breaks "fewer than t fragments without t permits"
        Fails "custody/tests/gate.rs" "permit_and_receipt_of_different_decisions_make_no_grant";
    "A decision is acted on however old it is."
    LateGrant "late-grant" at "custody/src/gate.rs" breaks "claim 8"
        Fails "custody/tests/gate.rs" "a_decision_older_than_two_seconds_makes_no_grant";
    "Releases go on although log time and the node's clock are far apart."
    ClocksApartIgnored "clocks-apart-ignored" at "custody/src/gate.rs" breaks "claim 10"
        Fails "custody/tests/gate.rs" "clocks_sixty_seconds_apart_release_and_one_millisecond_more_refuses_in_both_directions";
    "A read is released whatever policy says."
    PolicyNotAskedAtRelease "policy-not-asked-at-release" at "custody/src/gate.rs" breaks "docs/proofs.md: deny by default"
        Fails "custody/tests/gate.rs" "every_refusal_has_its_code_and_leaves_a_leaf_that_says_so";
    "After a change the decision from before it stands, though policy says otherwise now."
    SecondLookSkipped "second-look-skipped" at "custody/src/gate.rs" breaks "claim 8"
        Fails "custody/tests/gate.rs" "a_second_look_after_a_change_of_policy_or_a_new_version_sees_it";
    "Every entry that is not applied yet is taken for harmless, so that no reader waits for it."
    EverythingHarmless "everything-harmless" at "custody/src/freshness.rs" breaks "claim 8"
        Found "sim/tests/held_back.rs" "nodes_that_take_a_policy_change_for_harmless_yield_t_releases_after_a_revocation";
    "The signature of a head is not verified."
    HeadUnsigned "head-unsigned" at "custody/src/heads.rs" breaks "claim 22"
        Fails "custody/tests/heads.rs" "a_head_counts_only_with_the_signature_of_its_node_boot_and_cluster";
    "Two heads of one node at one index are no evidence."
    EquivocationIgnored "equivocation-ignored" at "custody/src/heads.rs" breaks "claim 22"
        Fails "custody/tests/heads.rs" "two_heads_of_one_node_at_one_index_exclude_it_and_both_are_kept_as_evidence";
    "A node that is contradicted and supported by fewer than t goes on."
    ContradictionIgnored "contradiction-ignored" at "custody/src/heads.rs" breaks "claim 22"
        Found "sim/tests/sabotage.rs" "nodes_that_go_on_when_they_are_contradicted_are_caught";
    "A snapshot is taken over without anybody's word for it."
    SnapshotUnvouched "snapshot-unvouched" at "custody/src/snapshots.rs" breaks "docs/proofs.md: a snapshot is taken only on the word of t others"
        Fails "custody/tests/snapshots.rs" "t_others_are_enough_and_one_fewer_is_not";
    "A node goes on although t others sign another state than its own."
    OtherStateIgnored "other-state-ignored" at "custody/src/snapshots.rs" breaks "equal chains and state roots at equal index"
        Fails "custody/tests/snapshots.rs" "a_node_whose_state_t_others_contradict_knows_it_and_nobody_else_is_stopped";
    "A checkpoint is cosigned though it could not be remembered."
    CosignedUnremembered "cosigned-unremembered" at "custody/src/witness.rs" breaks "claim 12"
        Fails "custody/tests/witness.rs" "nothing_is_cosigned_that_cannot_be_remembered";
    "A sealing session is taken for the one that a dealing names."
    SessionUnnamed "session-unnamed" at "custody/src/fragments.rs" breaks "claim 6"
        Fails "custody/tests/fragments.rs" "another_dealer_s_session_is_not_taken_for_the_dealing_s_and_spoils_nothing";
    "Who booted takes part once one other node that takes part has answered."
    OneWitnessIsEnough "one-witness-is-enough" at "custody/src/admission.rs" breaks "claim 13"
        Fails "custody/tests/admission.rs" "t_that_take_part_are_enough_and_fewer_or_others_are_not";
    "What a node said to an earlier boot is taken for an answer to this one."
    AnswerToAnyBoot "answer-to-any-boot" at "custody/src/admission.rs" breaks "claim 13"
        Fails "custody/tests/admission.rs" "an_answer_to_another_boot_by_another_node_or_changed_on_its_way_does_not_count";

    // consensus
    "Readers do not wait until what the node had accepted is applied."
    StaleReads "stale-reads" at "consensus/src/progress.rs" breaks "claim 8"
        Found "sim/tests/held_back.rs" "nodes_that_do_not_catch_up_yield_t_releases_after_a_revocation";
    "The chain leaves out what an entry says."
    ChainWithoutPayload "chain-without-payload" at "consensus/src/chain.rs" breaks "claim 22"
        Fails "consensus/src/chain.rs" "chain::tests::every_field_of_a_step_changes_the_chain";
    "The state root leaves out the values of records."
    StateRootWithoutValues "state-root-without-values" at "consensus/src/snapshot.rs" breaks "docs/proofs.md: a snapshot is taken only on the word of t others"
        Fails "consensus/src/snapshot.rs" "snapshot::tests::the_state_root_is_the_hash_of_its_written_out_encoding";
    "Entries of a leader are taken whatever their order and terms."
    AppendUnchecked "append-unchecked" at "consensus/src/receive.rs" breaks "claim 21"
        Fails "consensus/src/receive.rs" "receive::tests::entries_with_a_gap_a_repeat_or_a_falling_or_future_term_are_refused";
    "A leader may log any membership."
    MembershipUnchecked "membership-unchecked" at "consensus/src/receive.rs" breaks "docs/proofs.md: no leader decides who votes"
        Fails "sim/tests/malicious.rs" "a_leader_that_logs_another_membership_changes_nobodys";
    "Nodes sign the state root of a snapshot alone, and nothing else that it claims."
    SnapshotMetaUnsigned "snapshot-meta-unsigned" at "consensus/src/snapshot.rs" breaks "docs/proofs.md: a snapshot is taken only on the word of t others"
        Fails "sim/tests/malicious.rs" "a_snapshot_with_another_membership_is_refused";
    "A member may raise the term as often as it likes."
    TermsWithoutEnd "terms-without-end" at "consensus/src/receive.rs" breaks "docs/proofs.md: no member ends leader after leader"
        Fails "store/tests/cluster.rs" "a_member_that_makes_up_terms_ends_few_leaders";
    "A holder's word on a dealing counts for whatever stands at that index."
    ConfirmedElsewhere "confirmed-elsewhere" at "state/src/dealings.rs" breaks "docs/specs/sealing.md: a holder's word is of one history"
        Fails "state/tests/fragments.rs" "what_a_holder_says_of_another_history_s_dealing_counts_nothing";
    "Commands are logged whoever signed them, and however often."
    GarbageLogged "garbage-logged" at "state/src/commands.rs" breaks "docs/proofs.md: what leaves no record is not logged"
        Fails "state/tests/commands.rs" "what_leaves_no_record_is_told_before_it_is_logged";
    "A member refuses whoever is further ahead than elections lead, and stays where it is."
    FarTermsRefused "far-terms-refused" at "consensus/src/receive.rs" breaks "docs/proofs.md: no member keeps others apart"
        Fails "store/tests/cluster.rs" "members_that_were_led_far_apart_meet_again";
    "A member that enters a later term votes for itself there."
    TermEnteredForItself "term-entered-for-itself" at "consensus/src/receive.rs" breaks "docs/proofs.md: nobody leads a term in which it was not elected"
        Fails "store/tests/cluster.rs" "a_leader_that_is_led_into_a_later_term_leads_no_more";
    "Who is told that it leads a later term leads it."
    ElectedByAnswer "elected-by-answer" at "consensus/src/network.rs" breaks "docs/proofs.md: nobody leads a term in which it was not elected"
        Fails "store/tests/cluster.rs" "a_leader_that_is_told_that_it_leads_a_later_term_does_not";
    "Whatever a leader says counts, also one that another vote has ended."
    StaleFramesCount "stale-frames-count" at "consensus/src/receive.rs" breaks "docs/proofs.md: who is no leader stops nobody"
        Fails "store/tests/cluster.rs" "frames_of_a_leader_that_is_none_do_not_keep_a_member_from_applying";
    "Every mark is kept and described, however many come at once."
    EveryMarkKept "every-mark-kept" at "consensus/src/apply.rs" breaks "claim 21"
        Fails "store/tests/snapshot.rs" "marks_that_follow_each_other_closely_keep_few_states";
    "A leader believes every follower that there is a later one."
    LaterLeaderBelieved "later-leader-believed" at "consensus/src/network.rs" breaks "docs/proofs.md: one follower does not depose leader after leader"
        Fails "sim/tests/malicious.rs" "a_follower_that_claims_a_later_leader_stops_nobody_for_long";

    // store
    "Syncs only pretend."
    SkipSyncs "skip-syncs" at "store/src/sabotage.rs" breaks "claim 9"
        Found "sim/tests/skipped_syncs.rs" "with_skipped_syncs_acknowledged_writes_and_audit_records_are_lost";
    "Whoever appended to the audit log does not wait until it is durable."
    AuditNotAwaited "audit-not-awaited" at "store/src/audit.rs" breaks "claim 11"
        Found "sim/tests/sabotage.rs" "nodes_that_do_not_wait_for_their_audit_record_are_caught";
    "A sealed value opens at any place of the disk."
    SealedForAnyPlace "sealed-for-any-place" at "store/src/barrier.rs" breaks "claim 2"
        Fails "store/src/barrier.rs" "barrier::tests::what_is_sealed_opens_at_its_place_only";

    "A reader is given a record from memory that a commit has changed."
    CommittedStaysKnown "committed-stays-known" at "store/src/recent.rs" breaks "reads and writes of one secret are linearizable"
        Fails "store/tests/views.rs" "a_view_sees_each_record_as_it_was_when_the_view_was_taken";
    "A view of an earlier state keeps its records for views of the newest one."
    OldViewsKeepRecords "old-views-keep-records" at "store/src/recent.rs" breaks "reads and writes of one secret are linearizable"
        Fails "store/tests/views.rs" "a_view_sees_each_record_as_it_was_when_the_view_was_taken";

    "A second snapshot is written to where the first one waits to come into force."
    StagingShared "staging-shared" at "store/src/staging.rs" breaks "docs/proofs.md: a forged snapshot changes nothing"
        Fails "store/tests/staging.rs" "a_second_snapshot_is_not_written_into_one_that_was_checked_nor_into_the_state_in_force";
    "A snapshot replaces a state that nobody has compared with the others'."
    ReplacedUncompared "replaced-uncompared" at "consensus/src/takeover.rs" breaks "docs/proofs.md: a leader that gives two followers different entries"
        Fails "store/tests/snapshot.rs" "a_snapshot_replaces_a_state_only_once_the_others_agree_with_it";

    // node
    "Heads are passed on without the boot statements under which they were signed."
    BootsNotPassedOn "boots-not-passed-on" at "node/src/vouch.rs" breaks "claim 22"
        Fails "sim/tests/malicious.rs" "two_followers_to_whom_the_leader_shows_different_boots_never_both_go_on";
    "A node forgets at its own boot which boots of the others it vouched to."
    FenceNotSynced "fence-not-synced" at "node/src/fences.rs" breaks "claim 13"
        Fails "sim/tests/fences.rs" "a_fence_stands_after_the_power_went_the_moment_it_was_raised";
    "A fence rises while a frame of the older boot is worked on."
    FenceRisesAtOnce "fence-rises-at-once" at "node/src/fences.rs" breaks "claim 13"
        Fails "sim/tests/fences.rs" "a_fence_waits_for_frames_in_hand_and_lets_none_of_an_older_boot_pass_afterwards";

    // client
    "The signature over a reply is not verified."
    ReplyUnsigned "reply-unsigned" at "client/src/reply.rs" breaks "claim 6"
        Fails "client/tests/read.rs" "a_reply_for_another_client_is_refused_and_its_node_named";
    "A ciphertext is not compared with the record hash that t nodes vouch for."
    BodyUnchecked "body-unchecked" at "client/src/read/opening.rs" breaks "claim 5"
        Fails "client/tests/read.rs" "a_wrong_body_is_named_and_another_node_gives_the_right_one";
    "t equal answers are enough, although another shows a later state."
    LowerVersion "lower-version" at "client/src/round.rs" breaks "reads and writes of one secret are linearizable"
        Fails "client/src/round.rs" "round::tests::t_equal_answers_do_not_outvote_one_from_a_later_state";
    "Chain values that nodes show are not compared."
    HistoriesNotCompared "histories-not-compared" at "client/src/reply.rs" breaks "claim 22"
        Fails "client/tests/read.rs" "of_two_histories_without_a_third_opinion_neither_is_believed";
    "A node is believed under a boot older than one that was seen."
    OlderBootBelieved "older-boot-believed" at "client/src/hello.rs" breaks "claim 13"
        Fails "client/tests/connect.rs" "an_older_boot_than_was_seen_is_refused";

    "A command is taken for applied when one node says so."
    OneNodesWord "one-nodes-word" at "client/src/confirm.rs" breaks "claim 9"
        Fails "client/tests/write.rs" "a_node_that_says_done_and_hands_the_command_to_nobody_is_not_believed";
    "One node says for all how many have confirmed a write."
    OneNodesLevel "one-nodes-level" at "client/src/confirm.rs" breaks "levels verified and full take the word of t nodes"
        Fails "client/tests/write.rs" "that_all_nodes_have_confirmed_takes_the_word_of_t";

    // Lies of a leader, and of a follower.
    "A leader changes a byte of every payload, the same for all others."
    Forge "forge" at "consensus/src/malice.rs" breaks "claim 22"
        Found "devcluster/tests/lying.rs" "a_leader_that_forges_commands_is_deposed_and_the_others_serve_on";
    "A leader changes a byte of every payload for one member only (`fork:2`)."
    Fork "fork" at "consensus/src/malice.rs" breaks "claim 22"
        Found "devcluster/tests/lying.rs" "a_follower_that_is_told_other_entries_freezes_and_never_both_followers_go_on";
    "A leader sends nothing where something was proposed: what it acknowledges is gone."
    Drop "drop" at "consensus/src/malice.rs" breaks "claim 22"
        Found "devcluster/tests/lying.rs" "a_leader_that_drops_what_it_acknowledges_is_deposed_and_the_others_serve_on";
    "A leader sends an earlier payload where another was proposed."
    Replay "replay" at "consensus/src/malice.rs" breaks "claim 22"
        Found "sim/tests/malicious.rs" "a_leader_that_replays_commands_is_noticed_by_both_followers_and_deposed";
    "A snapshot is sent with a record that differs."
    ForgedRecords "forged-records" at "consensus/src/malice.rs" breaks "docs/proofs.md: a snapshot is taken only on the word of t others"
        Found "sim/tests/malicious.rs" "a_snapshot_with_a_changed_record_is_refused";
    "A snapshot claims a state root of its own."
    ForgedRoot "forged-root" at "consensus/src/malice.rs" breaks "docs/proofs.md: a snapshot is taken only on the word of t others"
        Found "sim/tests/malicious.rs" "a_snapshot_with_a_state_root_that_nobody_signed_is_refused";
    "A snapshot claims to be of another incarnation of the cluster."
    ForeignSnapshot "foreign-snapshot" at "consensus/src/malice.rs" breaks "docs/proofs.md: a snapshot is taken only on the word of t others"
        Found "sim/tests/malicious.rs" "a_snapshot_of_another_incarnation_is_refused";

    "A follower acknowledges entries that it does not keep."
    Hollow "hollow" at "consensus/src/malice.rs" breaks "claim 22"
        Found "sim/tests/malicious.rs" "a_follower_that_acknowledges_what_it_does_not_keep_makes_two_histories_that_do_not_both_go_on";

    // Lies of a node about what it serves.
    "A node releases another fragment, signed as its own."
    WrongFragment "wrong-fragment" at "custody/src/malice.rs" breaks "claim 6"
        Found "devcluster/tests/lying.rs" "a_node_that_signs_a_wrong_fragment_is_named_and_the_value_still_read";
    "A node sends another fragment than the one whose hash it signs."
    OtherFragmentThanSigned "other-fragment-than-signed" at "custody/src/malice.rs" breaks "claim 6"
        Found "devcluster/tests/lying.rs" "a_node_that_sends_another_fragment_than_it_signed_is_named_and_the_value_still_read";
    "A node signs another history."
    OtherHistory "other-history" at "custody/src/malice.rs" breaks "claim 22"
        Found "devcluster/tests/lying.rs" "a_node_that_signs_another_history_is_outvoted_and_named";
    "A node sends a ciphertext that is not the record's."
    WrongBody "wrong-body" at "custody/src/malice.rs" breaks "claim 5"
        Found "devcluster/tests/lying.rs" "a_node_that_sends_another_ciphertext_is_named_and_the_value_still_read";
    "A node releases its fragment of another secret under the name of the one that was asked for."
    OtherSecretsFragment "other-secrets-fragment" at "custody/src/malice.rs" breaks "claim 6"
        Found "devcluster/tests/lying_serving.rs" "a_node_that_releases_its_fragment_of_another_secret_is_named";
    "A node serves another secret, whole, as the one that was asked for."
    OtherSecret "other-secret" at "custody/src/malice.rs" breaks "claim 5"
        Found "devcluster/tests/lying_serving.rs" "a_node_that_serves_another_secret_is_named";
    "A node serves the version before the latest, and claims to have applied the latest."
    OldVersion "old-version" at "custody/src/malice.rs" breaks "reads and writes of one secret are linearizable"
        Found "devcluster/tests/lying_serving.rs" "a_node_that_serves_an_old_version_as_the_latest_is_never_settled_for";
    "A node serves an old state, says so, and does not catch up when it is asked to."
    OldState "old-state" at "custody/src/malice.rs" breaks "claim 8"
        Found "devcluster/tests/lying_serving.rs" "a_node_that_goes_on_serving_an_old_state_is_named";
    "A node claims an epoch that is not the cluster's."
    OtherEpoch "other-epoch" at "custody/src/malice.rs" breaks "claim 5"
        Found "devcluster/tests/lying_serving.rs" "a_node_that_claims_another_epoch_is_outvoted";
    "A node claims a state far ahead of the one it has."
    AheadOfItself "ahead-of-itself" at "custody/src/malice.rs" breaks "reads and writes of one secret are linearizable"
        Found "devcluster/tests/lying_serving.rs" "a_node_that_claims_a_state_it_does_not_have_moves_nobody";
    "A node says that commands are done, and hands them to nobody."
    DoneByNobody "done-by-nobody" at "node/src/sabotage.rs" breaks "claim 9"
        Found "devcluster/tests/lying.rs" "a_node_that_says_done_and_hands_commands_to_nobody_revokes_all_the_same";
    "A node signs heads of another history."
    OtherHeads "other-heads" at "node/src/sabotage.rs" breaks "claim 22"
        Found "devcluster/tests/lying.rs" "a_node_that_signs_heads_of_another_history_is_outvoted_and_the_others_go_on";
    "A node releases and does not write it down."
    Unrecorded "unrecorded" at "node/src/sabotage.rs" breaks "claim 11"
        Found "devcluster/tests/audit_liars.rs" "a_node_that_releases_without_writing_it_down_is_named_by_its_own_receipt";
    "A node signs another history of its audit log than the one that was cosigned."
    ForkedAudit "forked-audit" at "node/src/sabotage.rs" breaks "claim 12"
        Found "devcluster/tests/audit_liars.rs" "a_node_that_signs_another_history_of_its_audit_log_is_excluded_with_the_evidence_kept";
    "A node hides the end of its audit log and signs the smaller tree."
    CutAudit "cut-audit" at "node/src/sabotage.rs" breaks "claim 12"
        Found "devcluster/tests/audit_liars.rs" "a_node_that_hides_the_end_of_its_audit_log_is_named_by_receipt_and_by_anchor";
    "A node tells statements as large as one message may be."
    FatStatements "fat-statements" at "node/src/sabotage.rs" breaks "claim 22"
        Found "devcluster/tests/lying.rs" "statements_as_large_as_a_message_keep_nothing_else_from_being_told";
    "No lie: a node panics when it applies a command."
    PanicAtApply "panic-at-apply" at "node/src/sabotage.rs" breaks "a node whose agreement ends by a defect ends itself"
        Found "devcluster/tests/lying.rs" "a_node_whose_agreement_ends_by_a_panic_ends_itself_and_the_others_serve_on";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_differ_and_at_least_twenty_bugs_sit_in_honest_code() {
        let names: BTreeSet<&str> = Bug::ALL.iter().map(|bug| bug.name()).collect();
        assert_eq!(names.len(), Bug::ALL.len());
        let lies = [
            "node/src/sabotage.rs",
            "consensus/src/malice.rs",
            "custody/src/malice.rs",
        ];
        let honest = Bug::ALL.iter().filter(|bug| !lies.contains(&bug.site()));
        assert!(honest.count() >= 20);
    }
}
