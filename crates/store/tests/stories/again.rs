//! Objects that are made again under an id that was removed: who makes one anew has seen the remove, and what others do to the
//! former object does not concern the new one.

stories! {
    an_edit_of_the_former_object_does_not_reach_the_new_one "
        given
            ann new note n title=tea body=mint
        apart
            ann remove note n
            ann again note n title=coffee
            bob set note n body=black
        then
            note n title=coffee body=-
        when ann1 before bob
            bob gets back note n body=black: removed"

    /// Finding F4.
    a_remove_of_the_former_object_spares_the_new_one "
        given
            ann new note n title=tea
        apart
            ann remove note n
            ann again note n title=coffee
            bob remove note n
        then
            note n title=coffee"

    removed_and_made_again_in_one_transaction "
        given
            ann new note n title=tea body=mint
        apart
            ann remove note n + again note n title=coffee
            bob set note n body=black
        then
            note n title=coffee body=-
        when ann before bob
            bob gets back note n body=black: removed"

    both_make_it_again_and_the_later_one_stands "
        given
            ann new note n title=tea
        apart
            ann remove note n
            ann again note n title=coffee body=black
            bob remove note n
            bob again note n title=juice
        then
            note n title=juice body=-"

    both_make_again_what_all_saw_removed "
        given
            ann new note n title=tea
            all meet
            ann remove note n
        apart
            ann again note n title=coffee body=black
            bob again note n title=juice body=orange
        then
            note n title=juice body=orange"

    the_earlier_of_two_that_made_it_again_may_go_on_editing "
        given
            ann new note n title=tea
            all meet
            ann remove note n
        apart
            ann again note n title=coffee
            bob again note n title=juice
            ann set note n body=black
        then
            note n title=juice body=black"

    made_again_and_removed_again_beats_made_again_once "
        given
            ann new note n title=tea
        apart
            ann remove note n
            ann again note n title=coffee
            ann remove note n
            bob remove note n
            bob again note n title=juice
        then
            nothing
        when ann3 before bob2
            bob gets back note n title=juice: removed"

    one_generation_ahead_of_the_other "
        given
            ann new note n title=tea
        apart
            ann remove note n
            ann again note n title=coffee
            ann remove note n
            ann again note n title=cocoa
            bob set note n title=juice
        then
            note n title=cocoa
        when ann1 before bob
            bob gets back note n title=juice: removed"

    who_saw_the_remove_makes_it_again_and_the_former_edit_comes_back "
        given
            ann new note n title=tea
        apart
            ann remove note n
            ann syncs
            bob receives
            bob again note n title=juice
            cid set note n title=cocoa
            ann new folder f
        then
            folder f
            note n title=juice
            cid gets back note n title=cocoa: removed"

    two_remove_and_one_of_them_makes_it_again "
        given
            ann new note n title=tea
        apart
            ann remove note n
            bob remove note n
            bob again note n title=juice
            cid remove note n
        then
            note n title=juice"

    two_devices_make_one_shared_object "
        given
            ann new folder f
        apart
            ann new setting a value=1 unit=kg
            bob new setting a value=2 unit=g
        then
            folder f
            setting a value=2 unit=g"

    a_new_object_writes_all_its_properties_empty_ones_too "
        given
            ann new folder f
        apart
            ann new setting a value=1
            bob new setting a unit=g
        then
            folder f
            setting a value=- unit=g"

    three_devices_make_one_shared_object "
        given
            ann new folder f
        apart
            ann new setting a value=1
            bob new setting a value=2
            cid new setting a value=3
        then
            folder f
            setting a value=3"

    an_edit_of_a_shared_object_meets_its_making_by_another "
        given
            ann new folder f
        apart
            ann new setting a value=1 unit=kg
            bob new setting a value=2 unit=g
            ann set setting a value=3
        then
            folder f
            setting a value=3 unit=g"

    a_shared_object_made_and_removed_takes_the_other_ones_with_it "
        given
            ann new folder f
        apart
            ann new setting a value=1
            ann remove setting a
            bob new setting a value=2
        then
            folder f
        when ann2 before bob
            bob gets back setting a value=2: removed"

    a_shared_badge_is_made_by_two_and_is_one_of_them "
        given
            ann new folder f
        apart
            ann new badge b text=hot colour=red
            bob new badge b text=cold
        then
            folder f
            badge b text=cold colour=-"

    a_removed_address_made_again_is_whole "
        given
            ann new address h street=Ring city=Bonn
        apart
            ann remove address h
            ann again address h street=Kai city=Kiel
            bob set address h city=Cologne
        then
            address h street=Kai city=Kiel
        when ann1 before bob
            bob gets back address h street=Ring city=Cologne: removed"

    a_report_made_again_does_not_lose_to_one_that_arrives_later "
        given
            ann new report r text=calm by=ann
        apart
            ann remove report r
            ann again report r text=fog by=ann
            bob set report r text=storm by=bob
        then
            report r text=fog by=ann
        when ann1 before bob
            bob gets back report r text=storm by=bob: removed"
}
