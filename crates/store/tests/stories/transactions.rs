//! Transactions over several objects: refused whole or taken, and of one that was taken each object wins or loses by itself.

stories! {
    each_object_of_a_transaction_meets_others_by_itself "
        given
            ann new note n title=tea
            ann new note m title=tea
        apart
            ann set note n title=coffee + set note m title=coffee
            bob set note n title=juice
        then
            note n title=juice
            note m title=coffee"

    two_transactions_over_the_same_two_objects "
        given
            ann new note n title=tea
            ann new note m title=tea
        apart
            ann set note n title=coffee + set note m title=coffee
            bob set note n title=juice + set note m title=juice
        then
            note n title=juice
            note m title=juice"

    two_transactions_that_write_different_properties_of_both "
        given
            ann new note n title=tea body=mint
            ann new note m title=tea body=mint
        apart
            ann set note n title=coffee + set note m body=black
            bob set note n body=cold + set note m title=juice
        then
            note n title=coffee body=cold
            note m title=juice body=black"

    a_transaction_lives_but_for_what_was_removed "
        given
            ann new note n title=tea
            ann new note m title=tea
        apart
            ann remove note n
            bob set note n title=juice + set note m title=juice
        then
            note m title=juice
        when ann before bob
            bob gets back note n title=juice: removed"

    a_transaction_all_of_whose_objects_were_removed_comes_back "
        given
            ann new note n title=tea
            ann new note m title=tea
        apart
            ann remove note n + remove note m
            bob set note n title=juice + set note m title=juice
        then
            nothing
        when ann before bob
            bob gets back note n title=juice + note m title=juice: removed"

    removed_by_two_in_different_company "
        given
            ann new note n
            ann new note m
            ann new note o
        apart
            ann remove note n + remove note m
            bob remove note m + remove note o
        then
            nothing"

    a_move_between_two_objects_meets_a_remove_of_one "
        given
            ann new note n title=tea body=5
            ann new note m title=jar body=0
        apart
            ann set note n body=0 + set note m body=5
            bob remove note m
        then
            note n title=tea body=0
        when bob before ann
            ann gets back note m body=5: removed"

    a_refused_transaction_leaves_nothing_of_any_object "
        given
            ann new note n title=tea
            ann new note m title=tea
        apart
            ann set note n code=c1
            bob set note m code=c1 + set note n title=juice + new note o
        when ann before bob
            note n title=tea code=c1
            note m title=tea code=-
            bob gets back note m code=c1 + note n title=juice + note o: not-unique
        when bob before ann
            note n title=juice code=-
            note m code=c1
            note o title=-
            ann gets back note n code=c1: not-unique"

    what_depends_on_a_refused_insert_is_refused "
        given
            ann new folder f
        apart
            ann new note n code=c1
            ann syncs
            bob new note m code=c1
            bob set note m title=juice
            bob sees note m code=c1 title=juice
            cid set folder f colour=red
        then
            folder f colour=red
            note n code=c1
            bob gets back note m code=c1: not-unique
            bob gets back note m title=juice: object-missing"

    /// Finding V6: a remove of what the server does not have is refused, so that it buries nothing.
    a_remove_of_what_was_refused_is_refused "
        given
            ann new folder f
        apart
            ann new note n code=c1
            ann syncs
            bob new note m code=c1
            bob remove note m
            cid set folder f colour=red
        then
            folder f colour=red
            note n code=c1
            bob gets back note m code=c1: not-unique
            bob gets back note m: object-missing"

    what_does_not_depend_on_a_refused_transaction_lives "
        given
            ann new note m title=tea
        apart
            ann new note n code=c1
            ann syncs
            bob set note m code=c1
            bob set note m title=juice
            cid set note m body=cold
        then
            note n code=c1
            note m title=juice body=cold code=-
            bob gets back note m code=c1: not-unique"

    a_link_to_a_refused_folder_is_hidden "
        given
            ann new note m title=tea
        apart
            ann new note n code=c1
            ann syncs
            bob new folder f + set note m code=c1
            bob new note o folder=f
            bob sees note o folder=f
            cid set note m body=cold
        then
            note n code=c1
            note m title=tea body=cold code=-
            note o folder=hidden
            bob gets back folder f + note m code=c1: not-unique"

    what_is_refused_gives_way_to_what_others_wrote_meanwhile "
        given
            ann new note m title=tea body=mint
        apart
            ann new note n code=c1
            ann syncs
            cid set note m title=cocoa
            bob set note m code=c1 title=juice
            bob set note m body=cold
        then
            note n code=c1
            note m title=cocoa body=cold code=-
            bob gets back note m code=c1 title=juice: not-unique"

    one_writes_on_while_the_first_is_being_refused "
        given
            ann new note m title=tea
        apart
            ann new note n code=c1
            ann syncs
            bob set note m code=c1
            bob uploads
            bob set note m title=juice
            bob sees note m code=c1 title=juice
            cid set note m title=cocoa
        then
            note n code=c1
            note m title=cocoa code=-
            bob gets back note m code=c1: not-unique"

    three_transactions_in_a_ring "
        given
            ann new note n title=tea
            ann new note m title=tea
            ann new note o title=tea
        apart
            ann set note n title=a + set note m title=a
            bob set note m title=b + set note o title=b
            cid set note o title=c + set note n title=c
        then
            note n title=c
            note m title=b
            note o title=c"

    three_transactions_one_of_which_removes "
        given
            ann new note n title=tea
            ann new note m title=tea
        apart
            ann set note n title=a + set note m title=a
            bob set note n title=b + set note m body=b
            cid remove note n + set note m code=c
        then
            note m title=a body=b code=c
        when cid before ann
            ann gets back note n title=a: removed
        when cid before bob
            bob gets back note n title=b: removed"

    a_new_pair_meets_an_edit_of_the_old_one "
        given
            ann new note n title=tea
        apart
            ann new note m title=coffee + remove note n
            bob set note n title=juice + new note o
        then
            note m title=coffee
            note o title=-
        when ann before bob
            bob gets back note n title=juice: removed"
}
