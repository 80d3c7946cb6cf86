//! Edits against edits under the policy `property`: per property, the later write stands.

stories! {
    edits_of_two_properties_are_both_kept "
        given
            ann new note n title=tea body=mint
        apart
            ann set note n title=coffee
            bob set note n body=black
            ann sees note n title=coffee body=mint
            bob sees note n title=tea body=black
        then
            note n title=coffee body=black"

    of_two_edits_of_one_property_the_later_one_stands "
        given
            ann new note n title=tea
        apart
            ann set note n title=coffee
            bob set note n title=juice
        then
            note n title=juice"

    the_later_edit_need_not_be_whole "
        given
            ann new note n title=tea body=mint
        apart
            ann set note n title=coffee body=black
            bob set note n title=juice
        then
            note n title=juice body=black"

    the_later_edit_may_be_whole "
        given
            ann new note n title=tea body=mint
        apart
            ann set note n title=coffee
            bob set note n title=juice body=orange
        then
            note n title=juice body=orange"

    the_same_value_twice_is_that_value "
        given
            ann new note n title=tea
        apart
            ann set note n title=coffee
            bob set note n title=coffee
        then
            note n title=coffee"

    emptying_a_property_beats_an_earlier_value "
        given
            ann new setting a value=1 unit=kg
        apart
            ann set setting a value=2
            bob set setting a value=-
        then
            setting a value=- unit=kg"

    a_value_beats_an_earlier_emptying "
        given
            ann new setting a value=1 unit=kg
        apart
            ann set setting a value=-
            bob set setting a value=2
        then
            setting a value=2 unit=kg"

    setting_a_value_back_is_a_write_like_any_other "
        given
            ann new note n title=tea
        apart
            bob set note n title=juice
            ann set note n title=coffee
            ann set note n title=tea
        then
            note n title=tea"

    what_lies_between_two_edits_of_another_is_overwritten "
        given
            ann new note n title=tea
        apart
            ann set note n title=coffee
            bob set note n title=juice
            ann set note n title=cocoa
        then
            note n title=cocoa"

    what_lies_after_two_edits_of_another_stands "
        given
            ann new note n title=tea body=mint
        apart
            ann set note n title=coffee
            ann set note n title=cocoa body=sweet
            bob set note n title=juice
        then
            note n title=juice body=sweet"

    two_new_objects_are_two_objects "
        given
            ann new folder f
        apart
            ann new note n title=tea
            bob new note m title=tea
        then
            folder f
            note n title=tea
            note m title=tea"

    a_new_object_and_edits_of_it_come_together "
        given
            ann new folder f
        apart
            ann new note n title=tea
            ann set note n body=mint
            bob set folder f colour=red
        then
            folder f colour=red
            note n title=tea body=mint"

    an_abandoned_transaction_was_never_there "
        given
            ann new note n title=tea
        apart
            ann abandons set note n title=coffee + new note m
            ann sees note n title=tea
            ann sees no note m
            bob set note n body=mint
        then
            note n title=tea body=mint"

    /// Finding F6: what a form was read as tells what its user changed.
    a_form_that_was_read_earlier_takes_back_nothing "
        given
            ann new note n title=tea body=mint
        apart
            bob opens note n
            ann set note n title=coffee
            ann syncs
            bob receives
            bob sees note n title=coffee body=mint
            bob saves note n body=black
            bob sees note n title=coffee body=black
            ann set note n title=cocoa
        then
            note n title=cocoa body=black"

    of_a_form_only_what_was_typed_is_written "
        given
            ann new note n title=tea body=mint
        apart
            bob opens note n
            ann set note n title=coffee
            bob saves note n body=black
        then
            note n title=coffee body=black"

    a_form_in_which_nothing_was_typed_writes_nothing "
        given
            ann new note n title=tea body=mint
        apart
            bob opens note n
            ann set note n title=coffee
            bob saves note n title=tea
        then
            note n title=coffee body=mint"

    two_forms_in_which_the_same_was_typed_over "
        given
            ann new note n title=tea body=mint
        apart
            ann opens note n
            bob opens note n
            ann saves note n title=coffee body=black
            bob saves note n title=juice
        then
            note n title=juice body=black"

    a_struct_that_was_not_read_overwrites_everything "
        given
            ann new note n title=tea body=mint
        apart
            ann set note n title=coffee
            bob put note n title=tea body=green
        then
            note n title=tea body=green"

    an_earlier_overwriting_gives_way_property_by_property "
        given
            ann new note n title=tea body=mint
        apart
            bob put note n title=juice
            ann set note n title=coffee
        then
            note n title=coffee body=\"\""

    who_has_seen_an_edit_writes_later "
        given
            ann new note n title=tea
        apart
            bob clock -30
            ann set note n title=coffee
            ann syncs
            bob receives
            bob set note n title=juice
            ann set note n body=black
        then
            note n title=juice body=black"

    of_two_lists_the_later_one_stands_whole "
        given
            ann new note n tags=hot,sweet
        apart
            ann set note n tags=hot,sweet,big
            bob set note n tags=hot
        then
            note n tags=hot"

    a_list_and_a_title_are_both_kept "
        given
            ann new note n title=tea tags=hot,sweet
        apart
            ann set note n tags=cold
            bob set note n title=juice
        then
            note n title=juice tags=cold"

    three_edits_of_three_properties "
        given
            ann new note n title=tea body=mint
        apart
            ann set note n title=coffee
            bob set note n body=black
            cid set note n code=c1
        then
            note n title=coffee body=black code=c1"

    three_edits_of_one_property "
        given
            ann new note n title=tea
        apart
            ann set note n title=coffee
            bob set note n title=juice
            cid set note n title=cocoa
        then
            note n title=cocoa"

    three_edits_in_a_ring "
        given
            ann new setting a value=1 unit=kg
        apart
            ann set setting a value=2
            bob set setting a value=3 unit=g
            cid set setting a unit=mg
        then
            setting a value=3 unit=mg"

    the_middle_one_has_seen_the_first "
        given
            ann new note n title=tea body=mint
        apart
            ann set note n title=coffee
            ann syncs
            cid set note n title=cocoa
            bob receives
            bob set note n title=juice
        then
            note n title=juice body=mint"
}
