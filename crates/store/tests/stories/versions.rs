//! Two versions of the application: the older one knows neither body nor code of a note, nor the city of an address.

stories! {
    what_an_old_application_does_not_know_it_leaves "
        old bob
        given
            ann new note n title=tea body=mint code=c1
        apart
            bob set note n title=juice
            ann set note n body=black
        then
            note n title=juice body=black code=c1"

    a_whole_put_by_an_old_application_takes_nothing_away "
        old bob
        given
            ann new note n title=tea body=mint code=c1
        apart
            ann set note n body=black
            bob put note n title=juice
        then
            note n title=juice body=black code=c1"

    an_old_application_puts_what_it_knows_of_an_address "
        old bob
        given
            ann new address h street=Ring city=Bonn
        apart
            ann set address h street=Allee city=Kiel
            bob set address h street=Kai
        then
            address h street=Kai city=Kiel"

    an_old_application_removes_the_whole_object "
        old bob
        given
            ann new note n title=tea body=mint
        apart
            bob remove note n
            ann set note n body=black
        then
            nothing
        when bob before ann
            ann gets back note n body=black: removed"

    what_an_old_application_makes_again_has_nothing_of_the_former "
        old bob
        given
            ann new note n title=tea body=mint
        apart
            bob remove note n
            bob again note n title=juice
            ann set note n body=black
        then
            note n title=juice body=-
        when bob1 before ann
            ann gets back note n body=black: removed"

    an_old_server_keeps_what_it_does_not_know "
        old server
        given
            ann new note n title=tea body=mint
        apart
            ann set note n body=black
            bob set note n title=juice body=cold
        then
            note n title=juice body=cold"

    an_update_brings_in_sight_what_was_kept "
        old bob
        given
            ann new note n title=tea body=mint
        apart
            ann set note n body=black
            ann syncs
            bob receives
            bob set note n title=juice
            bob updates
            bob sees note n title=juice body=black
            cid set note n body=cold
        then
            note n title=juice body=cold"

    two_old_applications_and_a_new_one "
        old bob cid
        given
            ann new note n title=tea body=mint
        apart
            bob set note n title=juice
            cid set note n title=cocoa
            ann set note n body=black title=coffee
        then
            note n title=coffee body=black"

    a_restart_forgets_nothing "
        given
            ann new note n title=tea body=mint
        apart
            ann set note n title=coffee
            ann restarts
            ann sees note n title=coffee body=mint
            bob set note n body=black
            bob uploads
            bob restarts
            bob sees note n title=tea body=black
            ann set note n code=c1
        then
            note n title=coffee body=black code=c1"
}
