# Stands in for Node's own include/node/common.gypi when node-gyp cross-builds for Windows with MinGW-w64
# (tools/cross/node-gyp.mjs points node-gyp here). node-gyp includes this file last, so what it says wins.
{
  'target_defaults': {
    'default_configuration': 'Release',
    'configurations': {
      'Debug': {
        'defines': [ 'DEBUG', '_DEBUG' ],
        'cflags': [ '-g', '-O0' ]
      },
      'Release': {
        'defines': [ 'NDEBUG' ],
        'cflags': [ '-O2' ],
        # Strip while linking: a later strip(1) writes the current time into the PE header.
        'ldflags': [ '-s' ]
      }
    },

    # node-gyp's hook is for MSVC only; napi-stub.mjs does its work.
    'win_delay_load_hook': 'false',

    # The headers come from the node-api-headers package, nothing else.
    'include_dirs': [ '<(iocp_node_api_headers)' ],
    'include_dirs/': [ [ 'exclude', '/(src|deps/[^ ]*)$' ] ],

    # addon.gypi's list is in MSVC's spelling: -lkernel32.lib … -l"…/node.lib".
    'libraries/': [ [ 'exclude', '\\.lib' ] ],
    # Defines for V8 and libuv have no meaning for a pure Node-API addon.
    'defines!': [ 'USING_UV_SHARED=1', 'USING_V8_SHARED=1', 'V8_DEPRECATION_WARNINGS=1' ],

    'cflags': [
      '-Wall', '-Wextra',
      # Not -fdata-sections: it turns .bss into bytes of the file.
      '-ffunction-sections',
      # The same bytes whatever the checkout's path.
      '-ffile-prefix-map=<(module_root_dir)=.',
      '-fno-ident'
    ],
    'cflags_cc': [ '-std=c++17', '-fno-exceptions', '-fno-rtti' ],
    'ldflags': [
      # libgcc, libstdc++ and winpthread inside the addon: no DLL to ship.
      '-static', '-static-libgcc', '-static-libstdc++', '-pthread',
      # A Node-API symbol that is not declared dllimport must fail to link, not crash when it is called.
      '-Wl,--disable-auto-import',
      '-Wl,--gc-sections',
      '-Wl,--no-insert-timestamp',
      '-Wl,--dynamicbase', '-Wl,--nxcompat', '-Wl,--high-entropy-va'
    ],
    'conditions': [
      [ 'iocp_werror==1', { 'cflags': [ '-Werror' ] } ]
    ],

    'target_conditions': [
      [ '_type=="loadable_module"', {
        'sources': [ '<(iocp_napi_stub)' ]
      } ]
    ]
  }
}
