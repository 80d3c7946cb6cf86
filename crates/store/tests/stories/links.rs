//! Links: a link names an id. A link to what is not there is hidden, and shows again when the target is there again.

stories! {
    a_link_to_what_another_removes_is_hidden "
        given
            ann new folder f
            ann new note n title=tea
        apart
            ann remove folder f
            bob set note n folder=f
            bob sees note n folder=f
        then
            note n title=tea folder=hidden"

    a_link_made_before_the_target_is_removed_is_hidden "
        given
            ann new folder f
            ann new note n title=tea
        apart
            bob set note n folder=f
            ann remove folder f
        then
            note n title=tea folder=hidden"

    removing_the_target_writes_nothing_to_what_links_there "
        given
            ann new folder f
            ann new note n title=tea folder=f
        apart
            ann remove folder f
            ann sees note n folder=hidden
            bob set note n title=juice
        then
            note n title=juice folder=hidden"

    a_hidden_link_shows_again_when_its_target_is_made_again "
        given
            ann new folder f colour=red
            ann new note n folder=f
        apart
            ann remove folder f
            bob set note n title=juice
        then
            note n title=juice folder=hidden
        later
            ann again folder f colour=blue
        then
            folder f colour=blue
            note n title=juice folder=f"

    a_link_meets_the_removal_and_making_again_of_its_target "
        given
            ann new folder f colour=red
            ann new note n title=tea
        apart
            ann remove folder f
            bob set note n folder=f
            ann again folder f colour=blue
        then
            folder f colour=blue
            note n title=tea folder=f"

    a_link_and_a_change_of_its_target_do_not_meet "
        given
            ann new folder f colour=red
            ann new note n
        apart
            ann set folder f colour=blue
            bob set note n folder=f
        then
            folder f colour=blue
            note n folder=f"

    of_two_links_the_later_one_stands "
        given
            ann new folder f
            ann new folder g
            ann new note n
        apart
            ann set note n folder=f
            bob set note n folder=g
        then
            folder f
            folder g
            note n folder=g"

    unlinking_beats_an_earlier_link "
        given
            ann new folder f
            ann new folder g
            ann new note n folder=f
        apart
            ann set note n folder=g
            bob set note n folder=-
        then
            folder f
            folder g
            note n folder=-"

    a_link_beats_an_earlier_unlinking "
        given
            ann new folder f
            ann new folder g
            ann new note n folder=f
        apart
            ann set note n folder=-
            bob set note n folder=g
        then
            folder f
            folder g
            note n folder=g"

    a_link_and_an_edit_are_both_kept "
        given
            ann new folder f
            ann new note n title=tea
        apart
            ann set note n folder=f
            bob set note n title=juice
        then
            folder f
            note n title=juice folder=f"

    a_new_folder_and_a_link_to_it_come_together "
        given
            ann new note n title=tea
        apart
            ann new folder f + set note n folder=f
            bob set note n title=juice
        then
            folder f
            note n title=juice folder=f"

    a_new_folder_stays_although_the_note_for_it_is_removed "
        given
            ann new note n title=tea
        apart
            ann new folder f + set note n folder=f
            bob remove note n
        then
            folder f
        when bob before ann
            ann gets back note n: removed"

    a_note_and_its_folder_are_removed_by_two "
        given
            ann new folder f
            ann new note n folder=f
        apart
            ann remove folder f
            bob remove note n
        then
            nothing"

    a_new_note_in_a_folder_that_is_removed "
        given
            ann new folder f
        apart
            ann remove folder f
            bob new note n title=tea folder=f
        then
            note n title=tea folder=hidden"

    moved_away_before_the_folder_is_removed "
        given
            ann new folder f
            ann new folder g
            ann new note n folder=f
        apart
            bob set note n folder=g
            ann remove folder f
        then
            folder g
            note n folder=g"

    one_links_one_unlinks_one_removes_the_target "
        given
            ann new folder f
            ann new note n
        apart
            ann set note n folder=f
            bob set note n folder=-
            cid remove folder f
        then
            note n folder=-"

    one_links_one_edits_one_removes_the_target "
        given
            ann new folder f
            ann new note n title=tea
        apart
            ann set note n folder=f
            bob set note n title=juice
            cid remove folder f
        then
            note n title=juice folder=hidden"

    one_links_one_removes_and_one_makes_the_target_again "
        given
            ann new folder f colour=red
            ann new note n
        apart
            ann remove folder f
            ann syncs
            bob receives
            bob again folder f colour=blue
            cid set note n folder=f
        then
            folder f colour=blue
            note n folder=f"

    two_put_notes_into_each_others_new_folders_later "
        given
            ann new note n
        apart
            ann new folder f
            bob new folder g
        then
            note n
            folder f
            folder g
        later
            ann set note n folder=g
            bob set note n folder=f
        then
            folder f
            folder g
            note n folder=f"
}
