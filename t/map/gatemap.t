#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# gatemap, postmap and postalias on the command line: what they print, how they exit, what stays.
use strict;
use warnings;
use File::Temp qw(tempdir);
use Test::More;

my $build = $ENV{GP_BUILD} // '.';
my $dir   = tempdir(CLEANUP => 1);
chmod 0755, $dir;
symlink "$build/tools/gatemap", "$dir/$_" for qw(postmap postalias newaliases);
symlink "$build/tools/gatemap", "$dir/gatemap";

sub spew {
    my ($name, $text, $mode) = @_;
    open my $f, '>', "$dir/$name" or die "$name: $!";
    print $f $text;
    close $f;
    chmod $mode, "$dir/$name" if defined $mode;
    return "$dir/$name";
}

# Runs a command with standard input; (status, stdout, stderr).
sub run {
    my ($input, @command) = @_;
    spew('in', $input);
    my $program = shift @command;
    my $pid     = fork // die;
    if (!$pid) {
        open STDIN,  '<', "$dir/in";
        open STDOUT, '>', "$dir/out";
        open STDERR, '>', "$dir/err";
        exec "$dir/$program", @command;
        exit 127;
    }
    waitpid $pid, 0;
    my $status = $? >> 8;
    local $/;
    my @text = map { open my $f, '<', "$dir/$_" or die; <$f> // '' } qw(out err);
    return ($status, map { s/\Q$dir\E/DIR/gr } @text);
}

sub is_run {
    my ($name, $input, $command, $status, $out, $err) = @_;
    my ($got, $stdout, $stderr) = run($input, @$command);
    is($got,    $status, "$name: exit status");
    is($stdout, $out,    "$name: output");
    is($stderr, $err,    "$name: errors") if !ref $err;
    like($stderr, $err, "$name: errors") if ref $err;
}

my $t = spew('t', <<'END');
# a comment
Alice	Alice@example.com
bob@example.com  first,
    second
"a b"@example.com quoted
END
is_run('build',       '', ['postmap', "hash:$t"], 0, '', '');
ok(-s "$t.db", 'the table is there');
is_run('query',       '', ['postmap', '-q', 'ALICE', "hash:$t"], 0, "Alice\@example.com\n", '');
is_run('continued',   '', ['postmap', '-q', 'bob@example.com', "hash:$t"], 0, "first,    second\n", '');
is_run('quoted',      '', ['postmap', '-q', '"a b"@example.com', "hash:$t"], 0, "quoted\n", '');
is_run('absent',      '', ['postmap', '-q', 'nobody', "hash:$t"], 1, '', '');
is_run('many keys', "alice\nnobody\n\"a b\"\@example.com\n", ['postmap', '-q', '-', "hash:$t"], 0,
    "alice\tAlice\@example.com\n\"a b\"\@example.com\tquoted\n", '');
is_run('no key of many', "x\ny\n", ['postmap', '-q', '-', "hash:$t"], 1, '', '');
is_run('two tables', '', ['postmap', '-q', 'k', "hash:$t", 'inline:{k=v}'], 0, "v\n", '');
is_run('json', '', ['postmap', '-j', '-q', 'alice', "hash:$t"], 0,
    "{\"alice\": \"Alice\@example.com\"}\n", '');
my (undef, $list) = run('', 'postmap', '-s', "hash:$t");
is(join("\n", sort split /\n/, $list), "\"a b\"\@example.com\tquoted\nalice\tAlice\@example.com\n"
        . "bob\@example.com\tfirst,    second", 'list');

is_run('add', "carol  c\nalice no\n", ['postmap', '-i', "hash:$t"], 0, '',
    "postmap: warning: DIR/t.db: duplicate entry: \"alice\"\n");
is_run('added',   '', ['postmap', '-q', 'carol', "hash:$t"], 0, "c\n", '');
is_run('kept',    '', ['postmap', '-q', 'alice', "hash:$t"], 0, "Alice\@example.com\n", '');
is_run('replace', "alice new\n", ['postmap', '-ir', "hash:$t"], 0, '', '');
is_run('replaced', '', ['postmap', '-q', 'alice', "hash:$t"], 0, "new\n", '');
is_run('delete',   '', ['postmap', '-d', 'Alice', "hash:$t"], 0, '', '');
is_run('deleted',  '', ['postmap', '-q', 'alice', "hash:$t"], 1, '', '');
is_run('delete what is not there', '', ['postmap', '-d', 'alice', "hash:$t"], 1, '', '');
is_run('delete many', "carol\nx\n", ['postmap', '-d', '-', "hash:$t"], 0, '', '');
is_run('they are gone', '', ['postmap', '-q', 'carol', "hash:$t"], 1, '', '');
is_run('others stay', '', ['postmap', '-q', 'bob@example.com', "hash:$t"], 0, "first,    second\n", '');

my $d = spew('d', "a 1\nA 2\n");
is_run('duplicate', '', ['postmap', "btree:$d"], 0, '',
    "postmap: warning: DIR/d.db: duplicate entry: \"a\"\n");
is_run('the first is kept', '', ['postmap', '-q', 'a', "btree:$d"], 0, "1\n", '');
is_run('no warning', '', ['postmap', '-w', "btree:$d"], 0, '', '');
is_run('the last wins', '', ['postmap', '-r', "btree:$d"], 0, '', '');
is_run('it did', '', ['postmap', '-q', 'a', "btree:$d"], 0, "2\n", '');
is_run('not folded', '', ['postmap', '-f', "btree:$d"], 0, '', '');
is_run('upper case', '', ['postmap', '-f', '-q', 'A', "btree:$d"], 0, "2\n", '');
is_run('lower case', '', ['postmap', '-f', '-q', 'a', "btree:$d"], 0, "1\n", '');
is_run('without NUL', '', ['postmap', '-nw', "btree:$d"], 0, '', '');
is_run('is found', '', ['postmap', '-q', 'a', "btree:$d"], 0, "1\n", '');

# Every class of mistake in a source: a warning with file and line, the rest is built.
my $bad = spew('bad', "  blank first\nkey\nname: x\n" . ('k' x 3000) . " v\n\xff\xfe v\ngood v\nn\0ul v\n\"open v\n");
is_run('mistakes', '', ['postmap', "hash:$bad"], 0, '', <<'END');
postmap: warning: DIR/bad, line 1: line begins with a blank, but continues nothing; expected a key
postmap: warning: DIR/bad, line 2: expected format: key whitespace value
postmap: warning: DIR/bad, line 3: record is in "key: value" format; is this an alias file?
postmap: warning: DIR/bad, line 4: key or value too long; at most 2048 and 65536 bytes
postmap: warning: DIR/bad, line 5: non-UTF-8 input "?? v" -- ignoring this line
postmap: warning: DIR/bad, line 7: NUL byte; expected text
postmap: warning: DIR/bad, line 8: unbalanced '"' in '"open v' -- ignoring this line
END
is_run('the good line', '', ['postmap', '-q', 'good', "hash:$bad"], 0, "v\n", '');

my $aliases = spew('aliases', <<'END');
postmaster: root
Root:	alice, "bob smith"@example.com ,
	carol
"quoted, name": x
prog: "|/bin/cmd a,b", :include:/list, /var/mail/x
user@example.com: x
no colon
empty:
END
is_run('aliases', '', ['postalias', "hash:$aliases"], 0, '', <<'END');
postalias: warning: DIR/aliases, line 6: name must be local
postalias: warning: DIR/aliases, line 7: need name:value pair
postalias: warning: DIR/aliases, line 8: no value for "empty"; expected format: name: value, value, ...
END
for ([root => 'alice, "bob smith"@example.com, carol'], ['quoted, name' => 'x'],
    [prog => '"|/bin/cmd a,b", :include:/list, /var/mail/x']) {
    is_run("alias $_->[0]", '', ['postalias', '-q', $_->[0], "hash:$aliases"], 0, "$_->[1]\n", '');
}
is_run('aliases as postalias lists them', "prog\n", ['postalias', '-q', '-', "hash:$aliases"], 0,
    "prog:\t\"|/bin/cmd a,b\", :include:/list, /var/mail/x\n", '');
is_run('aliases by option', '', ['gatemap', '-A', "btree:$aliases"], 0, '', qr/line 6: name must/);

spew('main.cf', "alias_database = hash:$aliases\ndefault_database_type = btree\n");
is_run('newaliases', '', ['gatemap', '-c', $dir, '-q', 'root', $aliases], 0,
    "alice, \"bob smith\"\@example.com, carol\n", '');
unlink "$aliases.db";
{
    local $ENV{MAIL_CONFIG} = $dir;
    is_run('newaliases', '', ['newaliases'], 0, '', qr/line 6: name must/);
    ok(-s "$aliases.db", 'alias_database is built');
}

is_run('missing source', '', ['postmap', "hash:$dir/none"], 1, '',
    "postmap: fatal: open DIR/none: No such file or directory\n");
ok(!-e "$dir/none.db", 'makes no table');
is_run('missing table', '', ['postmap', '-q', 'x', "hash:$dir/none"], 1, '',
    "postmap: fatal: open database DIR/none.db: No such file or directory\n");
is_run('unknown type', '', ['postmap', "lmdbx:$t"], 1, '', qr/fatal: type "lmdbx" cannot be built/);
is_run('cidr cannot be built', '', ['postmap', "cidr:$t"], 1, '', qr/fatal: type "cidr" cannot/);
is_run('mistake in a text table', '', ['postmap', '-q', '10.1.1.1', 'cidr:' . spew('c', "10.0.0.1/8 x\n")],
    1, '', qr{fatal: DIR/c:1: non-null host address bits in "10\.0\.0\.1/8"; expected 10\.0\.0\.0/8});
is_run('usage', '', ['postmap'], 1, '', qr/^postmap: fatal: usage: postmap \[-bFfhij/);
is_run('two tasks', '', ['postmap', '-q', 'a', '-s', $t], 1, '',
    "postmap: fatal: specify only one of -s -q or -d\n");
is_run('-q before -i', '', ['postmap', '-i', '-q', 'k', 'inline:{k=v}'], 0, "v\n", '');
is_run('an option of postmap alone', '', ['postalias', '-h', $t], 1, '', qr/fatal: usage: postalias/);
is_run('user', '', ['postmap', '-q', 'root', 'unix:passwd.byname'], 0, "root:x:0:0:root:/root:/bin/bash\n",
    '') if (getpwnam 'root')[8] eq '/bin/bash' && (getpwnam 'root')[6] eq 'root';
is_run('no user', '', ['postmap', '-q', 'no-such-user', 'unix:passwd.byname'], 1, '', '');
is_run('help', '', ['gatemap', '--help'], 0, ((run('', 'gatemap', '--help'))[1]), '');
is_run('version', '', ['gatemap', '--version'], 0, ((run('', 'gatemap', '--version'))[1]), '');

# Values from files, and input that is not UTF-8.
spew($_->[0], $_->[1]) for ['one', "first\n"], ['two', "second\n"];
my $files = spew('files', "k $dir/one\nboth $dir/one, $dir/two\nnone $dir/nothing\n");
is_run('files', '', ['postmap', '-F', "hash:$files"], 0, '',
    "postmap: warning: DIR/files, line 3: open DIR/nothing: No such file or directory: skipping this entry\n");
is_run('as it lies there', '', ['postmap', '-q', 'k', "hash:$files"], 0, "Zmlyc3QK\n", '');
is_run('content', '', ['postmap', '-F', '-q', 'k', "hash:$files"], 0, "first\n\n", '');
is_run('of two files', '', ['postmap', '-Fq', 'both', "hash:$files"], 0, "first\n\nsecond\n\n", '');
is_run('no base64', '', ['postmap', '-Fq', 'k', 'inline:{k=?}'], 1, '',
    "postmap: fatal: table inline:{k=?}: malformed BASE64 value: ?\n");
my $latin = spew('latin', "\xffx 1\n");
is_run('not UTF-8', '', ['postmap', '-u', "hash:$latin"], 0, '', '');
is_run('is there', '', ['postmap', '-u', '-q', "\xffx", "hash:$latin"], 0, "1\n", '');

# A message as keys: what Postfix's postmap prints for the same.
my $all = 'pcre:' . spew('all', "/^/ F\n");
my $mime = <<'END';
Subject: hi
X-A: b
 c
Content-Type: multipart/mixed;
 boundary="q q"

pre

--q q
Content-Type: message/rfc822

Subject: in
Content-Type: multipart/alternative; boundary=z

--z

plain
--z
Content-Type: text/html

html
--z--
post
--q q
not a header
--q q--
end
END
my $digest = "Content-Type: multipart/digest; boundary=q\n\n--q\n\nSubject: in\n\nbody\n--q\n"
    . "Content-Type: text/plain\n\nA: b\n--q--\n";
my $top = "Subject: hi|X-A: b\n c|Content-Type: multipart/mixed;\n boundary=\"q q\"|";
my @letters = (
    ['-h', $mime, $top],
    ['-b', $mime, substr(($mime =~ s/\n/|/gr), length $top)],
    ['-hb', $mime, $top . substr(($mime =~ s/\n/|/gr), length $top)],
    ['-hm', $mime, $top . 'Content-Type: message/rfc822|Subject: in|'
        . 'Content-Type: multipart/alternative; boundary=z|Content-Type: text/html|'],
    ['-bm', $mime, '|pre||--q q|||--z||plain|--z||html|--z--|post|--q q|not a header|--q q--|end|'],
    ['-hm', $digest, 'Content-Type: multipart/digest; boundary=q|Subject: in|Content-Type: text/plain|'],
    ['-bm', $digest, '|--q|||body|--q||A: b|--q--|'],
    ['-hb', " x\nbody\n", '| x|body|'],
    ['-hb', "From me\nA: b\n\nb\n", '|From me|A: b||b|'],
    ['-hb', "A: b\nnotheader\nC: d\n", 'A: b||notheader|C: d|'],
    ['-hb', 'A: b', 'A: b|'],
    ['-hm', "Content-Type: multipart/x; boundary=\n\n--\nA: b\n", 'Content-Type: multipart/x; boundary=|'],
    ['-b', '', ''],
);
for (@letters) {
    my ($option, $text, $keys) = @$_;
    is_run("$option of a message", $text, ['postmap', "${option}q", '-', $all], $keys eq '' ? 1 : 0,
        $keys =~ s/\|/\tF\n/gr, '');
}
my $deep = join '', map {"Content-Type: multipart/mixed; boundary=b$_\n\n--b$_\n"} 1001 .. 1200;
is_run('nested without an end', $deep, ['postmap', '-hmq', '-', $all], 0,
    join('', map {"Content-Type: multipart/mixed; boundary=b$_\tF\n"} 1001 .. 1101), '');
is_run('only with -q -', '', ['postmap', '-hq', 'a', $all], 1, '',
    "postmap: fatal: specify -b -h or -m only with \"-q -\"\n");
is_run('-m alone', "A: b\n\n", ['postmap', '-mq', '-', $all], 0, "A: b\tF\n\tF\n",
    "postmap: warning: ignoring -m option without -b or -h\n");

# LMDB: the same commands.
is_run('lmdb', '', ['postmap', 'lmdb:' . spew('l', "Alice a\nbob b\n")], 0, '', '');
is_run('lmdb, found', '', ['postmap', '-q', 'alice', "lmdb:$dir/l"], 0, "a\n", '');
is_run('lmdb, not there', '', ['postmap', '-q', 'carl', "lmdb:$dir/l"], 1, '', '');
is_run('lmdb, more', "carl c\n", ['postmap', '-i', "lmdb:$dir/l"], 0, '', '');
is_run('lmdb, less', '', ['postmap', '-d', 'bob', "lmdb:$dir/l"], 0, '', '');
is_run('lmdb, all', '', ['postmap', '-s', "lmdb:$dir/l"], 0, "alice\ta\ncarl\tc\n", '');
is_run('lmdb, a long key', '', ['postmap', 'lmdb:' . spew('k', 'k' x 600 . " v\n")], 1, '', qr/fatal/);
is_run('lmdb grows', '', ['postmap', 'lmdb:' . spew('m', join '', map {"k$_ v$_\n"} 1 .. 100000)], 0, '', '');
is_run('lmdb, the last', '', ['postmap', '-q', 'k100000', "lmdb:$dir/m"], 0, "v100000\n", '');
for my $bad ('', 'x' x 10000, substr(do { local (@ARGV, $/) = "$dir/m.lmdb"; <> }, 0, 20000)) {
    spew('b.lmdb', $bad);
    is_run('lmdb, damaged, ' . length $bad, '', ['postmap', '-q', 'k1', "lmdb:$dir/b"], 1, '', qr/fatal/);
}

# Tables that are asked over a socket, by a server that says what the key tells it to.
use IO::Socket::INET;
use IO::Socket::UNIX;

sub serve {
    my ($listener, $reply) = @_;
    my $pid = fork // die;
    return $pid if $pid;
    alarm 200;
    $SIG{PIPE} = 'IGNORE';
    while (my $c = $listener->accept) {
        my $in = '';
        my $open = 1;
        while ($open && sysread $c, $in, 4096, length $in) {
            while ($open && defined(my $out = $reply->(\$in))) {
                syswrite $c, $out;
                $open = $out ne '';
            }
        }
    }
    exit 0;
}

my %socketmap = (
    'm a'    => 'OK found a',
    'm b'    => 'NOTFOUND ',
    'm t'    => 'TEMP try later',
    'm p'    => 'PERM never',
    'm o'    => 'TIMEOUT slow',
    'm odd'  => 'WHAT',
    'm none' => '',
);
my $unix = IO::Socket::UNIX->new(Local => "$dir/socket", Listen => 5) or die;
my $inet = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5) or die;
my $tcp  = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5) or die;
my $netstrings = sub {
    my ($in) = @_;
    return undef if $$in !~ s/^(\d+):(.*),$//s;
    return 'garbage' if $2 eq 'm garbage';
    return '999999999:x,' if $2 eq 'm long';
    my $text = $socketmap{$2} // 'NOTFOUND ';
    return $text eq '' ? '' : length($text) . ":$text,";
};
my %tcp = ('a%20%25b%C3' => '200 x%20%25', 'k' => '200 v', 't' => '400 later', 'x' => '600 what', 'y' => '200 %zz');
my @servers = (
    serve($unix, $netstrings),
    serve($inet, $netstrings),
    serve($tcp,  sub { ${$_[0]} =~ s/^get (\S+)\n// ? ($tcp{$1} // '500 none') . "\n" : undef }),
);
for my $table ("socketmap:unix:$dir/socket:m", 'socketmap:inet:127.0.0.1:' . $inet->sockport . ':m') {
    is_run("$table, found", '', ['postmap', '-q', 'a', $table], 0, "found a\n", '');
    is_run("$table, not there", '', ['postmap', '-q', 'b', $table], 1, '', '');
    is_run("$table, $_", '', ['postmap', '-q', $_, $table], 1, '', qr/fatal: table .*query error for "$_"/)
        for qw(t p o odd none garbage long);
    is_run("$table, many", "a\nb\na\n", ['postmap', '-q', '-', $table], 0, "a\tfound a\na\tfound a\n", '');
}
my $tcp_table = 'tcp:localhost:' . $tcp->sockport;
is_run('tcp, escapes', '', ['postmap', '-uq', "a %b\xc3", $tcp_table], 0, "x %\n", '');
is_run('tcp, found', '', ['postmap', '-q', 'k', $tcp_table], 0, "v\n", '');
is_run('tcp, not there', '', ['postmap', '-q', 'n', $tcp_table], 1, '', '');
is_run("tcp, $_", '', ['postmap', '-q', $_, $tcp_table], 1, '', qr/query error/) for qw(t x y);
kill 'KILL', @servers;
waitpid $_, 0 for @servers;
close $_ for $unix, $inet, $tcp;
is_run('nobody there', '', ['postmap', '-q', 'a', "socketmap:unix:$dir/socket:m"], 1, '', qr/query error/);
is_run('a union', '', ['postmap', '-q', 'k', 'unionmap:{static:a,' . 'inline:{k=b}}'], 0, "a,b\n", '');

# A table in use is replaced whole: a failed build leaves the old one, and nothing else behind.
is_run('old', '', ['postmap', "hash:$t"], 0, '', '');
my @before = (stat "$t.db")[1, 7];
spew('t', "a b\n");
utime time + 10, time + 10, $t;
is_run('older than its source', '', ['postmap', '-q', 'alice', "hash:$t"], 0, "Alice\@example.com\n",
    "postmap: warning: database DIR/t.db is older than source file DIR/t\n");
SKIP: {
    skip 'not root', 8 if $>;
    my $small = "$dir/small";
    mkdir $small;
    skip 'no tmpfs', 8 if system "mount -t tmpfs -o size=64k tmpfs $small 2>/dev/null";
    spew('small/f', "a b\n");
    is_run('fits', '', ['postmap', "hash:$small/f"], 0, '', '');
    spew('small/g', join '', map { "key$_ value$_\n" } 1 .. 6000);
    is_run('disk full', '', ['postmap', "hash:$small/g"], 1, '', qr/fatal: .*No space left/);
    is(join(' ', map { s/.*\///r } glob "$small/*"), 'f f.db g', 'nothing half-written stays');
    system "umount $small";

    # Somebody's table is built as that user, with the rights of its source. (A process that has
    # changed its user cannot be looked at for leaks.)
    local $ENV{ASAN_OPTIONS} = join ':', $ENV{ASAN_OPTIONS} // (), 'detect_leaks=0';
    mkdir "$dir/user";
    chown 65534, 65534, "$dir/user";
    my $u = spew('user/u', "a b\n", 0640);
    chown 65534, 65534, $u;
    is_run('as owner', '', ['postmap', "hash:$u"], 0, '', '');
    is((stat "$u.db")[4],        65534, 'the table is theirs');
    is((stat "$u.db")[2] & 0777, 0640,  'and as private');
    unlink "$u.db";
    symlink '/etc/passwd', "$dir/user/u.db.new.1";
    is_run('as root', '', ['postmap', '-o', '-p', "hash:$u"], 0, '', '');
    is((stat "$u.db")[4],        0,    'asked for: root\'s');
    is((stat "$u.db")[2] & 0777, 0644, 'and public');
}
done_testing;
