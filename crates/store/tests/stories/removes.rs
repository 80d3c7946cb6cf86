//! Removes: a remove beats every edit that its author had not seen, whatever the policy and whenever each was made. An edit that
//! reaches the server after it comes back.

stories! {
    a_remove_beats_a_later_edit "
        given
            ann new note n title=tea
        apart
            ann remove note n
            bob set note n title=juice
            bob sees note n title=juice
        then
            nothing
        when ann before bob
            bob gets back note n title=juice: removed"

    a_remove_beats_an_earlier_edit "
        given
            ann new note n title=tea
        apart
            bob set note n title=juice
            ann remove note n
        then
            nothing
        when ann before bob
            bob gets back note n title=juice: removed"

    the_one_who_made_it_cannot_keep_it "
        given
            ann new note n title=tea
        apart
            ann set note n title=coffee
            bob remove note n
        then
            nothing
        when bob before ann
            ann gets back note n title=coffee: removed"

    two_removes_are_one "
        given
            ann new note n title=tea
        apart
            ann remove note n
            bob remove note n
        then
            nothing"

    three_removes_are_one "
        given
            ann new note n title=tea
        apart
            ann remove note n
            bob remove note n
            cid remove note n
        then
            nothing"

    each_of_several_edits_comes_back_by_itself "
        given
            ann new note n title=tea
        apart
            bob set note n title=juice
            bob set note n body=orange
            ann remove note n
        then
            nothing
        when ann before bob1
            bob gets back note n title=juice: removed
        when ann before bob2
            bob gets back note n body=orange: removed"

    an_edit_and_a_remove_of_ones_own "
        given
            ann new note n title=tea
        apart
            ann set note n title=coffee
            bob set note n title=juice
            ann remove note n
        then
            nothing
        when ann2 before bob
            bob gets back note n title=juice: removed"

    two_edit_what_one_removes "
        given
            ann new note n title=tea
        apart
            ann remove note n
            bob set note n title=juice
            cid set note n body=black
        then
            nothing
        when ann before bob
            bob gets back note n title=juice: removed
        when ann before cid
            cid gets back note n body=black: removed"

    one_edits_what_two_remove "
        given
            ann new note n title=tea
        apart
            ann remove note n
            bob set note n title=juice
            cid remove note n
        then
            nothing
        when ann before bob
            bob gets back note n title=juice: removed
        when cid before bob and bob before ann
            bob gets back note n title=juice: removed"

    other_objects_are_not_concerned "
        given
            ann new note n title=tea
            ann new note m title=tea
        apart
            ann remove note n
            bob set note m title=juice
        then
            note m title=juice"

    what_comes_and_goes_while_apart_was_never_seen_by_others "
        given
            ann new note m title=tea
        apart
            ann new note n title=coffee
            ann remove note n
            bob set note m title=juice
            bob sees no note n
        then
            note m title=juice"

    what_comes_and_goes_in_one_transaction_leaves_nothing "
        given
            ann new note m title=tea
        apart
            ann new note n + remove note n
            bob set note m title=juice
        then
            note m title=juice"

    who_has_seen_the_remove_can_edit_no_more "
        given
            ann new note n title=tea
            bob sees no folder f
        apart
            bob opens note n
            ann remove note n
            ann syncs
            bob receives
            bob sees no note n
            bob saves note n title=juice but NotFound
            ann new folder f
        then
            folder f"

    an_edit_that_the_remover_had_seen_goes_with_the_object "
        given
            ann new note n title=tea
        apart
            bob set note n title=juice
            bob syncs
            ann receives
            ann sees note n title=juice
            ann remove note n
            bob new folder f
        then
            folder f"

    what_came_back_can_be_made_anew "
        given
            ann new note n title=tea
        apart
            ann remove note n
            bob set note n title=juice
        then
            nothing
        when ann before bob
            bob gets back note n title=juice: removed
        later
            bob again note n title=juice
        then
            note n title=juice"

    an_address_is_removed_although_it_was_put_later "
        given
            ann new address h street=Ring city=Bonn
        apart
            ann remove address h
            bob set address h street=Kai
        then
            nothing
        when ann before bob
            bob gets back address h street=Kai city=Bonn: removed"

    no_precedence_saves_from_a_remove "
        given
            ann new sale s stage=1 goods=chairs
        apart
            ann remove sale s
            bob set sale s stage=99
        then
            nothing
        when ann before bob
            bob gets back sale s stage=99 goods=chairs: removed"

    no_arrival_saves_from_a_remove "
        given
            ann new report r text=calm by=ann
        apart
            ann remove report r
            bob set report r text=storm by=bob
        then
            nothing
        when ann before bob
            bob gets back report r text=storm by=bob: removed"

    a_shared_object_is_removed_for_all "
        given
            ann new checkpoint c passed=1
            ann new setting a value=1
        apart
            ann remove checkpoint c + remove setting a
            bob set checkpoint c passed=2
            cid set setting a value=2
        then
            nothing
        when ann before bob
            bob gets back checkpoint c passed=2: removed
        when ann before cid
            cid gets back setting a value=2: removed"

    a_remove_is_seen_before_ones_own_edit_is_decided "
        given
            ann new note n title=tea
        apart
            bob set note n title=juice
            ann remove note n
            ann syncs
            bob receives
            bob sees no note n
            ann new folder f
        then
            folder f
            bob gets back note n title=juice: removed"
}
