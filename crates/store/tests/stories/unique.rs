//! Unique values: who reaches the server first has it, whatever the clocks say; the other transaction comes back whole.

stories! {
    of_two_that_take_one_code_the_first_to_arrive_has_it "
        given
            ann new note n
            ann new note m
        apart
            ann set note n code=c1
            bob set note m code=c1
        when ann before bob
            note n code=c1
            note m code=-
            bob gets back note m code=c1: not-unique
        when bob before ann
            note n code=-
            note m code=c1
            ann gets back note n code=c1: not-unique"

    two_new_notes_with_one_code "
        given
            ann new folder f
        apart
            ann new note n code=c1
            bob new note m code=c1
        then
            folder f
        when ann before bob
            note n code=c1
            bob gets back note m code=c1: not-unique
        when bob before ann
            note m code=c1
            ann gets back note n code=c1: not-unique"

    three_take_one_code "
        given
            ann new folder f
        apart
            ann new note n code=c1
            bob new note m code=c1
            cid new note o code=c1
        then
            folder f
        when ann before bob and ann before cid
            note n code=c1
        when bob before ann and bob before cid
            note m code=c1
        when cid before ann and cid before bob
            note o code=c1
        when ann before bob
            bob gets back note m code=c1: not-unique
        when cid before bob and bob before ann
            bob gets back note m code=c1: not-unique
        when bob before ann
            ann gets back note n code=c1: not-unique
        when cid before ann and ann before bob
            ann gets back note n code=c1: not-unique
        when ann before cid
            cid gets back note o code=c1: not-unique
        when bob before cid and cid before ann
            cid gets back note o code=c1: not-unique"

    what_one_sees_taken_one_cannot_take "
        given
            ann new note n code=c1
            ann new note m
        apart
            bob cannot set note m code=c1 because UniqueViolation
            ann set note n title=tea
        then
            note n title=tea code=c1
            note m code=-"

    a_code_that_was_given_up_is_free_for_those_who_arrive_after_that "
        given
            ann new note n code=c1
            ann new note m
        apart
            ann set note n code=-
            ann syncs
            bob receives
            bob set note m code=c1
            ann set note n title=tea
        then
            note n title=tea code=-
            note m code=c1"

    a_removed_holder_gives_its_code_up "
        given
            ann new note n code=c1
            ann new note m
        apart
            ann remove note n
            ann syncs
            bob receives
            bob set note m code=c1
            cid set note n title=juice
        then
            note m code=c1
            cid gets back note n title=juice: removed"

    two_notes_exchange_their_codes_in_one_transaction "
        given
            ann new note n code=c1
            ann new note m code=c2
        apart
            ann set note n code=- + set note m code=c1 + set note n code=c2
            bob set note n title=tea
        then
            note n code=c2 title=tea
            note m code=c1"

    an_exchange_meets_a_third_that_takes_a_code "
        given
            ann new note n code=c1
            ann new note m code=c2
            ann new note o
        apart
            ann set note n code=- + set note m code=c1 + set note n code=c3
            bob set note o code=c3
        when ann before bob
            note n code=c3
            note m code=c1
            note o code=-
            bob gets back note o code=c3: not-unique
        when bob before ann
            note n code=c1
            note m code=c2
            note o code=c3
            ann gets back note n code=c3 + note m code=c1: not-unique"

    what_is_written_beside_a_code_comes_back_with_it "
        given
            ann new note n title=tea
            ann new note m title=tea
        apart
            ann set note n code=c1 title=coffee
            bob set note m code=c1 title=juice
        when ann before bob
            note n code=c1 title=coffee
            note m code=- title=tea
            bob gets back note m code=c1 title=juice: not-unique
        when bob before ann
            note n code=- title=tea
            note m code=c1 title=juice
            ann gets back note n code=c1 title=coffee: not-unique"

    a_second_thought_frees_the_first_code "
        given
            ann new note n
            ann new note m
        apart
            ann set note n code=c1
            ann set note n code=c2
            bob set note m code=c1
        then
            note n code=c2
        when ann2 before bob
            note m code=c1
        when bob before ann1
            note m code=c1
            ann gets back note n code=c1: not-unique
        when ann1 before bob and bob before ann2
            note m code=-
            bob gets back note m code=c1: not-unique"

    /// Finding F19: sync brings what the device itself has taken; both are in sight until the server has decided.
    sync_may_bring_a_code_that_is_taken_here "
        given
            ann new note n
            ann new note m
        apart
            bob set note m code=c1
            ann set note n code=c1
            ann syncs
            bob receives
            bob sees note n code=c1
            bob sees note m code=c1
            ann set note n title=tea
        then
            note n code=c1 title=tea
            note m code=-
            bob gets back note m code=c1: not-unique"

    two_put_one_code_on_one_note "
        given
            ann new note n
        apart
            ann set note n code=c1
            bob set note n code=c1
        then
            note n code=c1"

    of_two_codes_for_one_note_the_later_one_stands "
        given
            ann new note n
        apart
            ann set note n code=c1
            bob set note n code=c2
        then
            note n code=c2"

    a_code_that_lost_by_its_date_is_free "
        given
            ann new note n
            ann new note m
        apart
            ann set note n code=c1
            bob set note n code=c2
            cid set note m code=c1
        then
            note n code=c2
        when bob before cid
            note m code=c1
        when cid before bob and cid before ann
            note m code=c1
        when ann before cid and cid before bob
            note m code=-
            cid gets back note m code=c1: not-unique
        when cid before ann and ann before bob
            ann gets back note n code=c1: not-unique"

    what_came_back_is_written_with_another_code "
        given
            ann new folder f
        apart
            ann new note n code=c1
            ann syncs
            bob new note m code=c1 title=tea
            cid set folder f colour=red
        then
            folder f colour=red
            note n code=c1
            bob gets back note m code=c1 title=tea: not-unique
        later
            bob new note m code=c2 title=tea
        then
            folder f colour=red
            note n code=c1
            note m code=c2 title=tea"
}
