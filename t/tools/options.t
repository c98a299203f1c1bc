#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Every option of postmap, postalias and postconf: Debian's and ours say the same of the same files,
# on both outputs, with the same status. What differs on purpose is said at its row.
use strict;
use warnings;
use Gatepost::Kit;
use Gatepost::Peers;
use Test::More;

my $root = Gatepost::Peers::root_of('postfix');
my $bin = tempdir('names');
symlink build() . '/sbin/' . ($_ eq 'postconf' ? 'gateconf' : 'gatemap'), "$bin/$_" for qw(postmap postalias postconf);

# The same files twice, since most commands change some. /tmp is the same in the peer's root.
my %files = (
    t => "Key one two\n# c\n\"a b\" quoted  value\nkey dup\nKey2\tv\n  more\nempty\n",
    al => "root: joe, ann\nJOE:\t\"|cmd x\"\nroot: z\nbad line\na: :include:/x\n",
    re => "/^((.|\\n)*)\$/ <\$1>\n", ff => "file1 f1, f2\n", f1 => "one\n", f2 => "two\n", u => "k \377\n",
    msg => "From: a\nSubject: b\n c\nContent-Type: multipart/mixed; boundary=x\n\nbody1\n--x\nContent-Type: text/plain\n\npart\n--x--\nend\n",
    'main.cf' => <<'CF',
# c
compatibility_level = 3.6
myhostname = mx.example
mydomain = example
mynetworks = 10.0.0.0/8, 192.168.0.0/16, 172.16.0.0/12, 127.0.0.0/8, 198.51.100.0/24, 203.0.113.0/24
mua_foo = $myhostname bar
mua_list = permit_mynetworks, reject
smtpd_client_restrictions = $mua_list
smtpd_banner = $mua_foo
slow_destination_rate_delay = 3s
smtpd_restriction_classes = strict
strict = reject
typo_name = x
relayhost =
  [a.example]:25
CF
    'master.cf' => <<'CF',
smtp      inet  n       -       y       -       -       smtpd
  -o smtpd_banner=$myhostname
  -o { smtpd_helo_restrictions = reject, $mua_foo } -o mua_odd=1
submission inet n - y - - smtpd -v
slow unix - - y - - smtp
pickup    unix  n       -       y       60      1       pickup
25 inet n - y - - smtpd -v -D -o myorigin=c -v -o mydomain=f
CF
);
my %at = map { $_ => tempdir($_) } qw(their our);
sub fresh {
    for my $dir (values %at) {
        unlink glob "$dir/*";
        spew("$dir/$_", $files{$_}) for keys %files;
        # Postfix waits until a source is no longer of this second.
        utime time - 60, time - 60, map {"$dir/$_"} keys %files;
    }
    return;
}

# Lines of standard error come before or behind those of standard output, as a program buffers them.
sub say_of {
    my ($who, $command) = @_;
    my $dir = $at{$who};
    my $shell = "cd $dir && export MAIL_CONFIG=$dir && { $command\n} 2>err";
    my ($status, $out) = $who eq 'their' ? run_out('chroot', $root, '/bin/sh', '-c', $shell)
        : run_out('/bin/sh', '-c', "PATH=$bin:\$PATH; $shell");
    $out .= join '', sort map {"2: $_\n"} split /\n/, slurp("$dir/err") // '';
    return "$status\n" . $out =~ s/\Q$dir\E/DIR/gr;
}

my @rows = (
    # postmap: no option, -q -s -f -w -r -d -i
    'postmap hash:t; postmap -q key hash:t; postmap -q "a b" hash:t', 'postmap hash:t; postmap -q nokey hash:t',
    'postmap hash:t; postmap -s hash:t | sort', 'postmap hash:t; printf "key\nKEY2\nzz\n" | postmap -q - hash:t',
    'postmap -f hash:t; postmap -fq Key hash:t; postmap -fq KEY hash:t', 'postmap -w hash:t; postmap -q key hash:t',
    'postmap -r hash:t; postmap -q key hash:t', 'postmap hash:t; postmap -d key hash:t; postmap -d key hash:t',
    'postmap hash:t; printf "key\nzz\n" | postmap -d - hash:t; postmap -q key hash:t',
    (map {"postmap hash:t; printf 'new x\n' | postmap -i hash:t; printf 'new y\n' | postmap $_ hash:t; postmap -q new hash:t"} qw(-i -ir -iw)),
    # -h -b -m
    (map {"postmap $_ -q - regexp:re <msg"} qw(-h -b -hm -bm -hbm -m)), 'postmap -b -q x regexp:re', 'postmap -hs regexp:re',
    # -F -N -n -p -o -u -U -c -v
    'postmap -F hash:ff; postmap -q file1 hash:ff; postmap -Fq file1 hash:ff; postmap -Fs hash:ff',
    'rm f1; postmap -F hash:ff', 'postmap -N btree:t; postmap -q key2 btree:t', 'postmap -n btree:t; postmap -q key2 btree:t',
    'chmod 640 t; postmap hash:t; stat -c %a t.db', 'chmod 640 t; postmap -p hash:t; stat -c %a t.db', 'postmap -o hash:t',
    'postmap hash:u; postmap -q k hash:u', 'postmap -u hash:u; postmap -uq k hash:u', 'postmap -U hash:u',
    'printf "\n\377\n" | postmap -bq - regexp:re', 'printf "\n\377\n" | postmap -Ubq - regexp:re',
    'printf "x: \377\n" | postmap -Uhq - regexp:re', 'printf "\377\na\n" | postmap -q - regexp:re', 'printf "\377\na\n" | postmap -uq - regexp:re',
    'printf "\377 x\n" | postmap -i hash:t', 'echo "/x/ \377" >re; postmap -uq x regexp:re', 'echo "/x/ \377" >re; postmap -q x regexp:re', 'postmap -c . -q x static:y', 'postmap -s -q x hash:t', 'postmap t; postmap -q key2 t',
    'postmap hash:none', 'postmap -q x hash:none', 'postmap -q x inline:{x=y}', 'postmap -d x static:y',
    # postalias
    'postalias hash:al; postalias -s hash:al | grep -v "^@\|^YP_" | sort', 'postalias hash:al; postalias -q root hash:al; postalias -q JOE hash:al',
    'postalias hash:al; printf "root\nzz\n" | postalias -q - hash:al', 'postalias -r hash:al; postalias -q root hash:al', 'postalias -w hash:al',
    'postalias hash:al; postalias -d root hash:al; postalias -d root hash:al',
    'postalias hash:al; printf "n: x, y\n" | postalias -i hash:al; printf "n: z\n" | postalias -i hash:al; postalias -q n hash:al',
    'postalias -f hash:al; postalias -fq JOE hash:al', 'postalias -N hash:al; postalias -q joe hash:al', 'postalias -n hash:al; postalias -q joe hash:al',
    'chmod 600 al; postalias hash:al; stat -c %a al.db', 'chmod 600 al; postalias -p hash:al; stat -c %a al.db',
    'postalias -o hash:al', 'postalias -u hash:al', 'postalias -c . hash:al',
    # postconf
    (map {"postconf $_"} '-M', '-Mf', '-Mx', '-Mfx', '-Mf smtp/inet', '-M nosuch', '-M "*/unix"', '-P', '-Pf', '-Px', '-Ph', '-PH',
        '-P smtp/inet/smtpd_banner', '-Pxo myhostname=z', '-F', '-Ff', '-Fx', '-Ffx', '-Fh', '-FH', '-F smtp/inet/chroot', '-F "*/unix/command"',
        '-n', '-nf', '-nx', '-nh', '-nH', '-nfx', '-n mynetworks relayhost', '-h myhostname', '-H myhostname', '-x mua_foo',
        '-x smtpd_client_restrictions', '-xo mydomain=foo mua_foo mydomain', '-C user', '-nC service', '-nC user,service', '-C bogus',
        '-nC builtin', '-d relayhost', '-d nosuchparam', 'nosuchparam', 'slow_destination_rate_delay', 'slow_destination_recipient_limit',
        '-x slow_destination_recipient_limit', '-p relayhost', '-l', '-M -P', '-M -F', '-P -F -M', '-nM', '-dP', '-bt', '-bd', '-b x y', '-b none', '-T x',
        '-T public-key-algorithms', '-T x -T y'),
    (map {"postconf $_; cat main.cf master.cf"} '-e myorigin=x', 'myorigin=x "mua_foo = y"', '-e relayhost=', '-X relayhost', '-# relayhost mydomain',
        '-X nosuch', '-Me "new/unix=new unix - - - - - smtp -o x=y"', '-MX slow/unix', '-M# slow/unix', '-Fe smtp/inet/chroot=n', '-Fe smtp/inet/chroot=q',
        '-Pe smtp/inet/smtpd_banner=new', '-PX smtp/inet/smtpd_banner', '-e novalue'),
);
# In other words of ours: what cannot be opened, what stops a name that is unknown.
my %words = (
    'postmap -d x static:y' => 1, 'postmap -q x hash:none' => 1, 'rm f1; postmap -F hash:ff' => 1, 'postmap -hs regexp:re' => 1,
    'postconf -d nosuchparam' => 1, 'postconf nosuchparam' => 1, 'postconf -b none' => 1, 'echo "/x/ \377" >re; postmap -q x regexp:re' => 1,
    'postconf -Fe smtp/inet/chroot=q; cat main.cf master.cf' => 1,
);
for my $row (@rows) {
    fresh();
    my ($theirs, $ours) = map { say_of($_, $row) } qw(their our);
    if ($words{$row}) {
        s/^2: .*\n//mg for $theirs, $ours;
    }
    is($ours, $theirs, $row);
}
done_testing;
