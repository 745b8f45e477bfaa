{
  # Builds unchanged with MSVC on Windows (`node-gyp rebuild`). Everything that only MinGW needs, for the cross build
  # from Linux, stands in tools/cross/nodedir/include/node/common.gypi.
  'variables': {
    # 1: warnings are errors. For this project's own builds; somebody who installs the package with a newer compiler
    # than ours must not be stopped by a new warning.
    'iocp_werror%': 0,
    # 1: the test variant, whose Winsock calls can be made to fail. Never in a package.
    'iocp_fault%': 0,
    # Kept in order by `node tools/sources.mjs --write`.
    'iocp_sources': [
      'native/core/access/access_table.cc',
      'native/core/access/ban_list.cc',
      'native/core/access/prefix_set.cc',
      'native/core/error_table.cc',
      'native/core/framing/delimiter.cc',
      'native/core/framing/fixed.cc',
      'native/core/framing/frame_state.cc',
      'native/core/framing/hp_socket_pack.cc',
      'native/core/framing/length_field.cc',
      'native/core/framing/make_framing.cc',
      'native/core/framing/prefixed.cc',
      'native/core/framing/raw.cc',
      'native/core/framing/varint.cc',
      'native/core/job_queue.cc',
      'native/core/payload_memory.cc',
      'native/core/proxy_protocol/crc32c.cc',
      'native/core/proxy_protocol/ip_text.cc',
      'native/core/proxy_protocol/proxy_decoder.cc',
      'native/core/proxy_protocol/proxy_encoder.cc',
      'native/core/send_queue.cc',
      'native/core/slot_blocks.cc',
      'native/core/time_limits.cc',
      'native/core/timer_wheel.cc',
      'native/core/transfer_protocol.cc',
      'native/napi/addon.cc',
      'native/napi/args.cc',
      'native/napi/delivery_bridge.cc',
      'native/napi/detached_call.cc',
      'native/napi/engine_access.cc',
      'native/napi/engine_jobs.cc',
      'native/napi/engine_wrap.cc',
      'native/napi/errors.cc',
      'native/napi/faults.cc',
      'native/napi/file_jobs.cc',
      'native/napi/files.cc',
      'native/napi/loop_waker.cc',
      'native/napi/stats.cc',
      'native/napi/submission_bridge.cc',
      'native/napi/worker_bridge.cc',
      'native/napi/worker_port.cc',
      'native/win/connection/connection.cc',
      'native/win/connection/connection_files.cc',
      'native/win/connection/connection_files_end.cc',
      'native/win/connection/connection_times.cc',
      'native/win/connection/preamble.cc',
      'native/win/connection/proxy_preamble.cc',
      'native/win/connection/receiver.cc',
      'native/win/connection/receiver_decode.cc',
      'native/win/connection/receiver_limits.cc',
      'native/win/connection/receiver_mode.cc',
      'native/win/connection/sender.cc',
      'native/win/connection/socket_options.cc',
      'native/win/engine/access_control.cc',
      'native/win/engine/conditional_acceptor.cc',
      'native/win/engine/connect_attempt.cc',
      'native/win/engine/engine.cc',
      'native/win/engine/engine_loop.cc',
      'native/win/engine/engine_shutdown.cc',
      'native/win/engine/io_thread.cc',
      'native/win/engine/listener.cc',
      'native/win/engine/listener_pool.cc',
      'native/win/files/receive_file.cc',
      'native/win/files/send_file.cc',
      'native/win/files/send_file_disk.cc',
      'native/win/files/transfer_file.cc',
      'native/win/io/disk_pool.cc',
      'native/win/io/io_context.cc',
      'native/win/jobs/job_hub.cc',
      'native/win/jobs/job_hub_results.cc',
      'native/win/sys/address.cc',
      'native/win/sys/extension_functions.cc',
      'native/win/sys/fault_memory.cc',
      'native/win/sys/fault_seam.cc',
      'native/win/sys/file_error.cc',
      'native/win/sys/sha256.cc',
      'native/win/sys/threads.cc',
    ]
  },
  'target_defaults': {
    'include_dirs': [
      'native',
      '<!(node -p "require(\'node-addon-api\').include_dir")'
    ],
    'defines': [
      'NAPI_VERSION=8',
      'NAPI_DISABLE_CPP_EXCEPTIONS',
      # A Worker that is being terminated may refuse the throw; that must not end the process.
      'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS'
    ],
    'conditions': [
      [ 'OS=="win"', {
        'defines': [
          'WIN32_LEAN_AND_MEAN', 'NOMINMAX', 'UNICODE', '_UNICODE',
          # Windows 10 1607 and Server 2016 are the oldest that are supported.
          '_WIN32_WINNT=0x0A00'
        ],
        # No ".lib" suffix: gyp's MSVS generator appends it, ld does not want it.
        'libraries': [ '-lws2_32', '-lmswsock', '-lbcrypt' ],
        'msvs_disabled_warnings': [
          # Node's common.gypi turns exceptions off, and nothing here throws (MinGW: -fno-exceptions). MSVC then tells
          # of every noexcept that it does not end the process when something is thrown.
          4577,
          # The pragma `managed` of node-gyp's win_delay_load_hook.cc has no meaning without /clr.
          4949
        ],
        'msvs_settings': {
          'VCCLCompilerTool': {
            'AdditionalOptions': [
              '/std:c++17', '/permissive-', '/Zc:__cplusplus', '/utf-8',
              # What is included with <> is somebody else's: Windows, the C++ library, Node-API.
              '/external:anglebrackets', '/external:W0'
            ],
            # The standard is C++17, also where Node's common.gypi brings one for V8 (of several the last one counts).
            # Node's own releases are linked with clang's LTO, whose options node-gyp up to 12 hands on to MSVC.
            'AdditionalOptions/': [
              [ 'exclude', '^[-/]std:' ], [ 'include', '^/std:c[+][+]17$' ],
              [ 'exclude', '^-f(lto|profile)' ]
            ],
            'WarningLevel': 4
          },
          'VCLinkerTool': {
            'AdditionalOptions/': [ [ 'exclude', '^-f(lto|profile)' ], [ 'exclude', '^/opt:lldlto' ] ]
          },
          'VCLibrarianTool': {
            'AdditionalOptions/': [ [ 'exclude', '^-f(lto|profile)' ] ]
          }
        }
      } ],
      [ 'OS=="win" and iocp_werror==1', {
        'msvs_settings': { 'VCCLCompilerTool': { 'WarnAsError': 'true' } }
      } ],
      [ 'iocp_fault==1', {
        'defines': [ 'IOCP_FAULT_SEAM=1' ]
      } ]
    ]
  },
  'conditions': [
    [ 'OS=="win"', {
      'targets': [
        {
          'target_name': 'iocp',
          'sources': [ '<@(iocp_sources)' ]
        }
      ]
    }, {
      # There are no completion ports: nothing to build, and no error.
      'targets': [ { 'target_name': 'iocp', 'type': 'none' } ]
    } ]
  ]
}
