# Made by python -m parleyd.cli.completion.

_shtab_parleyd_tools_subparsers=(run)
_shtab_parleyd_platform_subparsers=(plan apply create)
_shtab_parleyd_subparsers=(run status events usage reload wake sleep mute unmute stop volume profile settings set unset announce button mqtt wyoming say chat context send-file look activity feedback approve deny transcript conversations setup devices secret check doctor report tune bench tools platform demo agent)

_shtab_parleyd_run_option_strings=(-h --help -c --config)
_shtab_parleyd_status_option_strings=(-h --help --watch --all --socket --json)
_shtab_parleyd_events_option_strings=(-h --help -f --follow --socket --json)
_shtab_parleyd_usage_option_strings=(-h --help --days -c --config --socket --json)
_shtab_parleyd_reload_option_strings=(-h --help --socket --json)
_shtab_parleyd_wake_option_strings=(-h --help --socket --json --anyway)
_shtab_parleyd_sleep_option_strings=(-h --help --socket --json)
_shtab_parleyd_mute_option_strings=(-h --help --socket --json)
_shtab_parleyd_unmute_option_strings=(-h --help --socket --json)
_shtab_parleyd_stop_option_strings=(-h --help --socket --json)
_shtab_parleyd_volume_option_strings=(-h --help --socket --json)
_shtab_parleyd_profile_option_strings=(-h --help --socket --json)
_shtab_parleyd_settings_option_strings=(-h --help --all --socket --json)
_shtab_parleyd_set_option_strings=(-h --help --try --socket --json)
_shtab_parleyd_unset_option_strings=(-h --help --try --socket --json)
_shtab_parleyd_announce_option_strings=(-h --help --sound --now --wait --timeout --socket --json)
_shtab_parleyd_button_option_strings=(-h --help -c --config --socket)
_shtab_parleyd_mqtt_option_strings=(-h --help -c --config --socket --topics)
_shtab_parleyd_wyoming_option_strings=(-h --help -c --config --socket)
_shtab_parleyd_say_option_strings=(-h --help --wait --timeout --socket --json)
_shtab_parleyd_chat_option_strings=(-h --help -c --config --socket --timeout)
_shtab_parleyd_context_option_strings=(-h --help --id --socket --json)
_shtab_parleyd_send_file_option_strings=(-h --help --text --wait --timeout --socket --json)
_shtab_parleyd_look_option_strings=(-h --help --wait --timeout --socket --json)
_shtab_parleyd_activity_option_strings=(-h --help --socket --json)
_shtab_parleyd_feedback_option_strings=(-h --help --socket --json)
_shtab_parleyd_approve_option_strings=(-h --help --socket --json)
_shtab_parleyd_deny_option_strings=(-h --help --socket --json)
_shtab_parleyd_transcript_option_strings=(-h --help -c --config --socket -f --follow --since --json)
_shtab_parleyd_conversations_option_strings=(-h --help -c --config --key-file --agent --user --since --json)
_shtab_parleyd_setup_option_strings=(-h --help -c --config --answers --answer --base-url)
_shtab_parleyd_devices_option_strings=(-h --help --json)
_shtab_parleyd_secret_option_strings=(-h --help --file --json)
_shtab_parleyd_check_option_strings=(-h --help -c --config --all --schema --json)
_shtab_parleyd_doctor_option_strings=(-h --help -c --config --json)
_shtab_parleyd_report_option_strings=(-h --help -c --config -o --output --words --no-doctor --picture --show --yes --json)
_shtab_parleyd_tune_option_strings=(-h --help -c --config --wav --seconds --noise --out --save --echo --json)
_shtab_parleyd_bench_option_strings=(-h --help -c --config --seconds --json)
_shtab_parleyd_tools_run_option_strings=(-h --help -c --config --socket)
_shtab_parleyd_tools_option_strings=(-h --help -c --config --json)
_shtab_parleyd_platform_plan_option_strings=(-h --help -c --config --key-file --json --agent --branch --take --prune --project)
_shtab_parleyd_platform_apply_option_strings=(-h --help -c --config --key-file --json --agent --branch --take --prune --project --yes)
_shtab_parleyd_platform_create_option_strings=(-h --help -c --config --key-file --json --write)
_shtab_parleyd_platform_option_strings=(-h --help)
_shtab_parleyd_demo_option_strings=(-h --help --mic --protocol --json --out)
_shtab_parleyd_agent_option_strings=(-h --help --host --key-file --no-key --tls-cert --tls-key --no-tls --replica --signing-secret-file --most-sessions --drain --origin --port --scenario --ears --voice --agent-file --mind --model --mind-key-file --ears-at --voice-at --input-format --output-format --record --json --quit-with-stdin)
_shtab_parleyd_option_strings=(-h --help --version --debug)

_shtab_parleyd_run__c_COMPGEN=_shtab_compgen_files
_shtab_parleyd_run___config_COMPGEN=_shtab_compgen_files
_shtab_parleyd_status___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_events___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_usage__c_COMPGEN=_shtab_compgen_files
_shtab_parleyd_usage___config_COMPGEN=_shtab_compgen_files
_shtab_parleyd_usage___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_reload___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_wake___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_sleep___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_mute___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_unmute___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_stop___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_volume___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_profile___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_settings___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_set___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_unset___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_announce___sound_COMPGEN=_shtab_compgen_files
_shtab_parleyd_announce___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_button__c_COMPGEN=_shtab_compgen_files
_shtab_parleyd_button___config_COMPGEN=_shtab_compgen_files
_shtab_parleyd_button___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_mqtt__c_COMPGEN=_shtab_compgen_files
_shtab_parleyd_mqtt___config_COMPGEN=_shtab_compgen_files
_shtab_parleyd_mqtt___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_wyoming__c_COMPGEN=_shtab_compgen_files
_shtab_parleyd_wyoming___config_COMPGEN=_shtab_compgen_files
_shtab_parleyd_wyoming___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_say___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_chat__c_COMPGEN=_shtab_compgen_files
_shtab_parleyd_chat___config_COMPGEN=_shtab_compgen_files
_shtab_parleyd_chat___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_context___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_send_file_pos_0_COMPGEN=_shtab_compgen_files
_shtab_parleyd_send_file___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_look___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_activity___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_feedback___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_approve___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_deny___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_transcript__c_COMPGEN=_shtab_compgen_files
_shtab_parleyd_transcript___config_COMPGEN=_shtab_compgen_files
_shtab_parleyd_transcript___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_conversations__c_COMPGEN=_shtab_compgen_files
_shtab_parleyd_conversations___config_COMPGEN=_shtab_compgen_files
_shtab_parleyd_conversations___key_file_COMPGEN=_shtab_compgen_files
_shtab_parleyd_setup__c_COMPGEN=_shtab_compgen_files
_shtab_parleyd_setup___config_COMPGEN=_shtab_compgen_files
_shtab_parleyd_setup___answers_COMPGEN=_shtab_compgen_files
_shtab_parleyd_secret___file_COMPGEN=_shtab_compgen_files
_shtab_parleyd_check__c_COMPGEN=_shtab_compgen_files
_shtab_parleyd_check___config_COMPGEN=_shtab_compgen_files
_shtab_parleyd_doctor__c_COMPGEN=_shtab_compgen_files
_shtab_parleyd_doctor___config_COMPGEN=_shtab_compgen_files
_shtab_parleyd_report__c_COMPGEN=_shtab_compgen_files
_shtab_parleyd_report___config_COMPGEN=_shtab_compgen_files
_shtab_parleyd_report__o_COMPGEN=_shtab_compgen_files
_shtab_parleyd_report___output_COMPGEN=_shtab_compgen_files
_shtab_parleyd_report___picture_COMPGEN=_shtab_compgen_files
_shtab_parleyd_tune__c_COMPGEN=_shtab_compgen_files
_shtab_parleyd_tune___config_COMPGEN=_shtab_compgen_files
_shtab_parleyd_tune___wav_COMPGEN=_shtab_compgen_files
_shtab_parleyd_bench__c_COMPGEN=_shtab_compgen_files
_shtab_parleyd_bench___config_COMPGEN=_shtab_compgen_files
_shtab_parleyd_tools_run__c_COMPGEN=_shtab_compgen_files
_shtab_parleyd_tools_run___config_COMPGEN=_shtab_compgen_files
_shtab_parleyd_tools_run___socket_COMPGEN=_shtab_compgen_files
_shtab_parleyd_tools__c_COMPGEN=_shtab_compgen_files
_shtab_parleyd_tools___config_COMPGEN=_shtab_compgen_files
_shtab_parleyd_platform_plan__c_COMPGEN=_shtab_compgen_files
_shtab_parleyd_platform_plan___config_COMPGEN=_shtab_compgen_files
_shtab_parleyd_platform_plan___key_file_COMPGEN=_shtab_compgen_files
_shtab_parleyd_platform_plan___take_COMPGEN=_shtab_compgen_files
_shtab_parleyd_platform_apply__c_COMPGEN=_shtab_compgen_files
_shtab_parleyd_platform_apply___config_COMPGEN=_shtab_compgen_files
_shtab_parleyd_platform_apply___key_file_COMPGEN=_shtab_compgen_files
_shtab_parleyd_platform_apply___take_COMPGEN=_shtab_compgen_files
_shtab_parleyd_platform_create__c_COMPGEN=_shtab_compgen_files
_shtab_parleyd_platform_create___config_COMPGEN=_shtab_compgen_files
_shtab_parleyd_platform_create___key_file_COMPGEN=_shtab_compgen_files
_shtab_parleyd_agent___key_file_COMPGEN=_shtab_compgen_files
_shtab_parleyd_agent___tls_cert_COMPGEN=_shtab_compgen_files
_shtab_parleyd_agent___tls_key_COMPGEN=_shtab_compgen_files
_shtab_parleyd_agent___signing_secret_file_COMPGEN=_shtab_compgen_files
_shtab_parleyd_agent___scenario_COMPGEN=_shtab_compgen_files
_shtab_parleyd_agent___agent_file_COMPGEN=_shtab_compgen_files
_shtab_parleyd_agent___mind_key_file_COMPGEN=_shtab_compgen_files

_shtab_parleyd_settings_pos_0_choices=(list keep undo)
_shtab_parleyd_feedback_pos_0_choices=(like dislike none)
_shtab_parleyd_tools_pos_0_choices=(run)
_shtab_parleyd_platform_pos_0_choices=(plan apply create)
_shtab_parleyd_demo___protocol_choices=(elevenlabs openai)
_shtab_parleyd_agent___ears_choices=(sphinx whisper none)
_shtab_parleyd_agent___input_format_choices=(pcm_8000 pcm_16000 pcm_22050 pcm_24000 pcm_44100 pcm_48000 ulaw_8000)
_shtab_parleyd_agent___output_format_choices=(pcm_8000 pcm_16000 pcm_22050 pcm_24000 pcm_44100 pcm_48000 ulaw_8000)
_shtab_parleyd_pos_0_choices=(run status events usage reload wake sleep mute unmute stop volume profile settings set unset announce button mqtt wyoming say chat context send-file look activity feedback approve deny transcript conversations setup devices secret check doctor report tune bench tools platform demo agent)

_shtab_parleyd_run__h_nargs=0
_shtab_parleyd_run___help_nargs=0
_shtab_parleyd_status__h_nargs=0
_shtab_parleyd_status___help_nargs=0
_shtab_parleyd_status___watch_nargs=0
_shtab_parleyd_status___all_nargs=0
_shtab_parleyd_status___json_nargs=0
_shtab_parleyd_events__h_nargs=0
_shtab_parleyd_events___help_nargs=0
_shtab_parleyd_events__f_nargs=0
_shtab_parleyd_events___follow_nargs=0
_shtab_parleyd_events___json_nargs=0
_shtab_parleyd_usage__h_nargs=0
_shtab_parleyd_usage___help_nargs=0
_shtab_parleyd_usage___json_nargs=0
_shtab_parleyd_reload__h_nargs=0
_shtab_parleyd_reload___help_nargs=0
_shtab_parleyd_reload___json_nargs=0
_shtab_parleyd_wake__h_nargs=0
_shtab_parleyd_wake___help_nargs=0
_shtab_parleyd_wake___json_nargs=0
_shtab_parleyd_wake___anyway_nargs=0
_shtab_parleyd_sleep__h_nargs=0
_shtab_parleyd_sleep___help_nargs=0
_shtab_parleyd_sleep___json_nargs=0
_shtab_parleyd_mute__h_nargs=0
_shtab_parleyd_mute___help_nargs=0
_shtab_parleyd_mute___json_nargs=0
_shtab_parleyd_unmute__h_nargs=0
_shtab_parleyd_unmute___help_nargs=0
_shtab_parleyd_unmute___json_nargs=0
_shtab_parleyd_stop__h_nargs=0
_shtab_parleyd_stop___help_nargs=0
_shtab_parleyd_stop___json_nargs=0
_shtab_parleyd_volume__h_nargs=0
_shtab_parleyd_volume___help_nargs=0
_shtab_parleyd_volume___json_nargs=0
_shtab_parleyd_profile__h_nargs=0
_shtab_parleyd_profile___help_nargs=0
_shtab_parleyd_profile___json_nargs=0
_shtab_parleyd_settings__h_nargs=0
_shtab_parleyd_settings___help_nargs=0
_shtab_parleyd_settings___all_nargs=0
_shtab_parleyd_settings___json_nargs=0
_shtab_parleyd_set__h_nargs=0
_shtab_parleyd_set___help_nargs=0
_shtab_parleyd_set___try_nargs=0
_shtab_parleyd_set___json_nargs=0
_shtab_parleyd_unset_pos_0_nargs=+
_shtab_parleyd_unset__h_nargs=0
_shtab_parleyd_unset___help_nargs=0
_shtab_parleyd_unset___try_nargs=0
_shtab_parleyd_unset___json_nargs=0
_shtab_parleyd_announce_pos_0_nargs='*'
_shtab_parleyd_announce__h_nargs=0
_shtab_parleyd_announce___help_nargs=0
_shtab_parleyd_announce___now_nargs=0
_shtab_parleyd_announce___wait_nargs=0
_shtab_parleyd_announce___json_nargs=0
_shtab_parleyd_button__h_nargs=0
_shtab_parleyd_button___help_nargs=0
_shtab_parleyd_mqtt__h_nargs=0
_shtab_parleyd_mqtt___help_nargs=0
_shtab_parleyd_mqtt___topics_nargs=0
_shtab_parleyd_wyoming__h_nargs=0
_shtab_parleyd_wyoming___help_nargs=0
_shtab_parleyd_say_pos_0_nargs=+
_shtab_parleyd_say__h_nargs=0
_shtab_parleyd_say___help_nargs=0
_shtab_parleyd_say___wait_nargs=0
_shtab_parleyd_say___json_nargs=0
_shtab_parleyd_chat__h_nargs=0
_shtab_parleyd_chat___help_nargs=0
_shtab_parleyd_context_pos_0_nargs=+
_shtab_parleyd_context__h_nargs=0
_shtab_parleyd_context___help_nargs=0
_shtab_parleyd_context___json_nargs=0
_shtab_parleyd_send_file__h_nargs=0
_shtab_parleyd_send_file___help_nargs=0
_shtab_parleyd_send_file___wait_nargs=0
_shtab_parleyd_send_file___json_nargs=0
_shtab_parleyd_look_pos_0_nargs='*'
_shtab_parleyd_look__h_nargs=0
_shtab_parleyd_look___help_nargs=0
_shtab_parleyd_look___wait_nargs=0
_shtab_parleyd_look___json_nargs=0
_shtab_parleyd_activity__h_nargs=0
_shtab_parleyd_activity___help_nargs=0
_shtab_parleyd_activity___json_nargs=0
_shtab_parleyd_feedback__h_nargs=0
_shtab_parleyd_feedback___help_nargs=0
_shtab_parleyd_feedback___json_nargs=0
_shtab_parleyd_approve__h_nargs=0
_shtab_parleyd_approve___help_nargs=0
_shtab_parleyd_approve___json_nargs=0
_shtab_parleyd_deny__h_nargs=0
_shtab_parleyd_deny___help_nargs=0
_shtab_parleyd_deny___json_nargs=0
_shtab_parleyd_transcript__h_nargs=0
_shtab_parleyd_transcript___help_nargs=0
_shtab_parleyd_transcript__f_nargs=0
_shtab_parleyd_transcript___follow_nargs=0
_shtab_parleyd_transcript___json_nargs=0
_shtab_parleyd_conversations__h_nargs=0
_shtab_parleyd_conversations___help_nargs=0
_shtab_parleyd_conversations___json_nargs=0
_shtab_parleyd_setup_pos_0_nargs='*'
_shtab_parleyd_setup__h_nargs=0
_shtab_parleyd_setup___help_nargs=0
_shtab_parleyd_devices__h_nargs=0
_shtab_parleyd_devices___help_nargs=0
_shtab_parleyd_devices___json_nargs=0
_shtab_parleyd_secret__h_nargs=0
_shtab_parleyd_secret___help_nargs=0
_shtab_parleyd_secret___json_nargs=0
_shtab_parleyd_check__h_nargs=0
_shtab_parleyd_check___help_nargs=0
_shtab_parleyd_check___all_nargs=0
_shtab_parleyd_check___schema_nargs=0
_shtab_parleyd_check___json_nargs=0
_shtab_parleyd_doctor__h_nargs=0
_shtab_parleyd_doctor___help_nargs=0
_shtab_parleyd_doctor___json_nargs=0
_shtab_parleyd_report__h_nargs=0
_shtab_parleyd_report___help_nargs=0
_shtab_parleyd_report___words_nargs=0
_shtab_parleyd_report___no_doctor_nargs=0
_shtab_parleyd_report___show_nargs=0
_shtab_parleyd_report___yes_nargs=0
_shtab_parleyd_report___json_nargs=0
_shtab_parleyd_tune__h_nargs=0
_shtab_parleyd_tune___help_nargs=0
_shtab_parleyd_tune___noise_nargs=0
_shtab_parleyd_tune___echo_nargs=0
_shtab_parleyd_tune___json_nargs=0
_shtab_parleyd_bench__h_nargs=0
_shtab_parleyd_bench___help_nargs=0
_shtab_parleyd_bench___json_nargs=0
_shtab_parleyd_tools_run__h_nargs=0
_shtab_parleyd_tools_run___help_nargs=0
_shtab_parleyd_tools_pos_0_nargs=A...
_shtab_parleyd_tools__h_nargs=0
_shtab_parleyd_tools___help_nargs=0
_shtab_parleyd_tools___json_nargs=0
_shtab_parleyd_platform_plan__h_nargs=0
_shtab_parleyd_platform_plan___help_nargs=0
_shtab_parleyd_platform_plan___json_nargs=0
_shtab_parleyd_platform_plan___prune_nargs=0
_shtab_parleyd_platform_apply__h_nargs=0
_shtab_parleyd_platform_apply___help_nargs=0
_shtab_parleyd_platform_apply___json_nargs=0
_shtab_parleyd_platform_apply___prune_nargs=0
_shtab_parleyd_platform_apply___yes_nargs=0
_shtab_parleyd_platform_create__h_nargs=0
_shtab_parleyd_platform_create___help_nargs=0
_shtab_parleyd_platform_create___json_nargs=0
_shtab_parleyd_platform_create___write_nargs=0
_shtab_parleyd_platform_pos_0_nargs=A...
_shtab_parleyd_platform__h_nargs=0
_shtab_parleyd_platform___help_nargs=0
_shtab_parleyd_demo__h_nargs=0
_shtab_parleyd_demo___help_nargs=0
_shtab_parleyd_demo___mic_nargs=0
_shtab_parleyd_demo___json_nargs=0
_shtab_parleyd_agent__h_nargs=0
_shtab_parleyd_agent___help_nargs=0
_shtab_parleyd_agent___no_key_nargs=0
_shtab_parleyd_agent___no_tls_nargs=0
_shtab_parleyd_agent___json_nargs=0
_shtab_parleyd_agent___quit_with_stdin_nargs=0
_shtab_parleyd_pos_0_nargs=A...
_shtab_parleyd__h_nargs=0
_shtab_parleyd___help_nargs=0
_shtab_parleyd___version_nargs=0
_shtab_parleyd___debug_nargs=0


# $1=COMP_WORDS[1]
_shtab_compgen_files() {
  compgen -f -- $1  # files
}

# $1=COMP_WORDS[1]
_shtab_compgen_dirs() {
  compgen -d -- $1  # recurse into subdirs
}

# $1=COMP_WORDS[1]
_shtab_replace_nonword() {
  echo "${1//[^[:word:]]/_}"
}

# set default values (called for the initial parser & any subparsers)
_set_parser_defaults() {
  local subparsers_var="${prefix}_subparsers[@]"
  sub_parsers=${!subparsers_var-}

  local current_option_strings_var="${prefix}_option_strings[@]"
  current_option_strings=${!current_option_strings_var}

  completed_positional_actions=0

  _set_new_action "pos_$completed_positional_actions" true
}

# $1=action identifier
# $2=positional action (bool)
# set all identifiers for an action's parameters
_set_new_action() {
  current_action="${prefix}_$(_shtab_replace_nonword $1)"

  local current_action_compgen_var=${current_action}_COMPGEN
  current_action_compgen="${!current_action_compgen_var-}"

  local current_action_choices_var="${current_action}_choices[@]"
  current_action_choices="${!current_action_choices_var-}"

  local current_action_nargs_var="${current_action}_nargs"
  if [ -n "${!current_action_nargs_var-}" ]; then
    current_action_nargs="${!current_action_nargs_var}"
  else
    current_action_nargs=1
  fi

  current_action_args_start_index=$(( $word_index + 1 - $pos_only ))

  current_action_is_positional=$2
}

# Notes:
# `COMPREPLY`: what will be rendered after completion is triggered
# `completing_word`: currently typed word to generate completions for
# `${!var}`: evaluates the content of `var` and expand its content as a variable
#     hello="world"
#     x="hello"
#     ${!x} -> ${hello} -> "world"
_shtab_parleyd() {
  local completing_word="${COMP_WORDS[COMP_CWORD]}"
  local previous_word="${COMP_WORDS[COMP_CWORD-1]}"
  local completed_positional_actions
  local current_action
  local current_action_args_start_index
  local current_action_choices
  local current_action_compgen
  local current_action_is_positional
  local current_action_nargs
  local current_option_strings
  local sub_parsers
  COMPREPLY=()

  local prefix=_shtab_parleyd
  local word_index=0
  local pos_only=0 # "--" delimiter not encountered yet
  _set_parser_defaults
  word_index=1

  # determine what arguments are appropriate for the current state
  # of the arg parser
  while [ $word_index -ne $COMP_CWORD ]; do
    local this_word="${COMP_WORDS[$word_index]}"

    if [[ $pos_only = 1 || " $this_word " != " -- " ]]; then
      if [[ -n $sub_parsers && " ${sub_parsers[@]} " == *" $this_word "* ]]; then
        # valid subcommand: add it to the prefix & reset the current action
        prefix="${prefix}_$(_shtab_replace_nonword $this_word)"
        _set_parser_defaults
      fi

      if [[ " ${current_option_strings[@]} " == *" $this_word "* ]]; then
        # a new action should be acquired (due to recognised option string or
        # no more input expected from current action);
        # the next positional action can fill in here
        _set_new_action $this_word false
      fi

      if [[ "$current_action_nargs" != "*" ]] && \
         [[ "$current_action_nargs" != "+" ]] && \
         [[ "$current_action_nargs" != "?" ]] && \
         [[ "$current_action_nargs" != *"..." ]] && \
         (( $word_index + 1 - $current_action_args_start_index - $pos_only >= \
            $current_action_nargs )); then
        $current_action_is_positional && let "completed_positional_actions += 1"
        _set_new_action "pos_$completed_positional_actions" true
      fi
    else
      pos_only=1 # "--" delimiter encountered
    fi

    let "word_index+=1"
  done

  # Generate the completions

  COMPREPLY=()
  if [[ $pos_only = 0 && "$completing_word" == -* &&
        ( -z "$current_action_compgen" || "$current_action_is_positional" = true ) ]]; then
    # optional argument started: use option strings
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(
      compgen -W "${current_option_strings[*]}" -- "$completing_word")
  elif [[ "$previous_word" =~ ^[0-9\&]*[\<\>]\>?$ ]]; then
    # handle redirection operators
    compopt -o filenames 2>/dev/null || : # bash>=4
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$completing_word")
  else
    # use choices & compgen
    local action_compgen_word="$completing_word"
    # handle tab-completing in the middle of a line (#248 <- #116)
    [[ -n "$current_action_compgen" && "$completing_word" == -* ]] && action_compgen_word=""
    [ -n "$current_action_compgen" ] && {
      [[ "$current_action_compgen" =~ _(file|dir|glob|FILE|DIR|GLOB)|File|Dir|Glob ]] &&
        compopt -o filenames 2>/dev/null || : # bash>=4
      while IFS= read -r line; do COMPREPLY+=("$line"); done < <(
        "$current_action_compgen" "$action_compgen_word")
    }
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(
      compgen -W "${current_action_choices[*]}" -- "$completing_word")
  fi

  if [[ ${#COMPREPLY[@]} = 0 ]]; then
    # native fallback matches are not necessarily filenames (e.g. variables)
    compopt +o filenames 2>/dev/null || : # bash>=4
  fi

  return 0
}

complete -o bashdefault -F _shtab_parleyd parleyd