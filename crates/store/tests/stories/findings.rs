//! The findings of the review of the laws that people on devices can run into, each with its shortest history; `docs/findings.md`
//! lists all of them.

stories! {
    /// F1: what was refused goes, what was written after it stays, and what the others have is what is shown.
    f01_a_refusal_takes_back_its_own_writes_and_nothing_else "
        given
            ann new note n title=tea body=mint
            ann new note m code=c1
        apart
            bob set note n title=juice + new note o code=c2
            bob set note n body=cold
            ann set note m code=c2
            ann syncs
        then
            note m code=c2
            note n title=tea body=cold
            bob gets back note n title=juice + note o code=c2: not-unique"

    /// F2: the answer that refuses one transaction and takes the next one is lost.
    f02_a_refusal_whose_answer_is_lost_is_told_at_the_next_login "
        given
            ann new note n title=tea code=c1
            ann new note m title=tea
        apart
            ann set note n code=c2
            ann syncs
            bob set note m code=c2
            bob set note m title=juice
            bob uploads
            bob sees note m code=c2 title=juice
            cid set note n title=cocoa
        then
            note n title=cocoa code=c2
            note m title=juice code=-
            bob gets back note m code=c2: not-unique"

    /// F3 a: the second transaction of a window changes what the first one was not allowed to insert.
    f03a_no_half_object_comes_of_a_refused_insert "
        given
            ann new note n code=c1
        apart
            ann set note n code=c2
            ann syncs
            bob new note m code=c2
            bob set note m body=cold
            bob set note n title=juice
            ann set note n body=hot
        then
            note n title=juice body=hot code=c2
            bob gets back note m code=c2: not-unique
            bob gets back note m body=cold: object-missing"

    /// F4: who removes the old object does not remove the one that was made anew.
    f04_a_remove_names_the_object_that_its_author_saw "
        given
            ann new note n title=tea
        apart
            ann remove note n
            ann syncs
            ann again note n title=coffee
            ann syncs
            bob remove note n
            cid set note n title=cocoa
        then
            note n title=coffee
            cid gets back note n title=cocoa: removed"

    /// F5: a device that never heard of the remove keeps what it wrote neither for itself alone, nor loses it without a word.
    f05_what_a_newcomer_makes_below_a_tombstone_comes_back_and_can_be_made_anew "
        given
            ann new folder f
        apart
            ann new setting a value=1
            ann syncs
            ann remove setting a
            ann syncs
            bob new setting a value=2
            bob sees setting a value=2
            ann set folder f colour=red
        then
            folder f colour=red
            bob gets back setting a value=2: removed
        later
            bob new setting a value=2
        then
            folder f colour=red
            setting a value=2"

    /// F6: the commonest thing that people do: a form is open while sync brings something.
    f06_a_form_that_is_put_back_reverts_nothing "
        given
            ann new note n title=tea body=mint
        apart
            bob opens note n
            ann set note n title=coffee
            ann syncs
            bob receives
            bob saves note n body=cold
            cid set note n code=c1
        then
            note n title=coffee body=cold code=c1"

    /// F7 a and b: a clock far ahead, corrected or not; the later of one's own writes stays the later one.
    f07_a_clock_that_was_far_ahead_costs_no_write_and_no_order "
        given
            ann new note n title=tea
        apart
            ann clock 31536000
            ann set note n title=coffee
            ann clock 0
            ann set note n title=cocoa
            bob clock 100
            bob set note n body=cold
            bob set note n body=black
        then
            note n title=cocoa body=black"

    /// F10: of two writes the one that arrives later stands, wherever verdicts and pushes are meanwhile.
    f10_what_arrives_last_stands_for_everyone "
        given
            ann new checkpoint c passed=1
        apart
            ann set checkpoint c passed=50
            bob set checkpoint c passed=49
            cid set checkpoint c passed=51
        when ann before cid and bob before cid
            checkpoint c passed=51
        when bob before ann and cid before ann
            checkpoint c passed=50
        when ann before bob and cid before bob
            checkpoint c passed=49"

    /// F19: values are exchanged in one transaction, and a device bears what sync brings.
    f19_unique_values_are_judged_by_what_the_transaction_leaves "
        given
            ann new note n code=c1
            ann new note m code=c2
        apart
            ann set note n code=- + set note m code=c1 + set note n code=c2
            bob set note n title=juice
            cid new note o code=c3
        then
            note n code=c2 title=juice
            note m code=c1
            note o code=c3"

    /// F22: a stored precedence is lowered by removing and making again, and in no other way.
    f22_a_remove_beats_any_precedence_and_lowers_it "
        given
            ann new sale s stage=10 goods=two
        apart
            bob cannot set sale s stage=5 because PrecedenceTooLow
            bob remove sale s
            bob again sale s stage=5 goods=three
            ann set sale s stage=11
        then
            sale s stage=5 goods=three
        when bob1 before ann
            ann gets back sale s stage=11: removed"

    /// V2: another one's write to the property of a refused one comes before the verdict on it.
    v02_a_refusal_takes_nothing_of_what_came_meanwhile "
        given
            ann new note n title=tea body=mint
            ann new note m code=c1
        apart
            bob set note n title=juice + new note o code=c1x
            ann set note m code=c1x
            ann syncs
            cid set note n title=cocoa
            cid syncs
            bob receives
        then
            note n title=cocoa body=mint
            note m code=c1x
            bob gets back note n title=juice + note o code=c1x: not-unique"

    /// V6: a refused insert is removed by its author, and the first insert of another one is not buried by that.
    v06_a_remove_of_what_the_server_never_had_buries_nothing "
        given
            ann new note n code=c1
        apart
            ann set note n code=c2
            ann syncs
            bob new setting a value=2 + new note o code=c2
            bob remove setting a
            cid new setting a value=3
        then
            note n code=c2
            bob gets back setting a value=2 + note o code=c2: not-unique
        when bob2 before cid
            setting a value=3
            bob gets back setting a: object-missing"
}
