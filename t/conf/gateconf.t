#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# gateconf against what Postfix's postconf prints for the same files.
use strict;
use warnings;
use Gatepost::Kit;
use Test::More;

my $dir = tempdir('conf');
my $main = <<'END';
# top comment
myhostname = a.test
mynetworks = 127.0.0.0/8,
   10.0.0.0/8   192.0.2.0/24
# middle
   # indented
    198.51.100.0/24
own = x$myhostname
relayhost=
smtpd_banner = $myhostname hi
other = $own
soft_bounce = yes
END
my $master = <<'END';
smtp      inet  n       -       y       -       5       smtpd
  -o smtpd_banner=x -o { myhostname = b c }
pickup    unix  n       -       y       60      1       pickup
slow unix - - n - - smtp
END
spew("$dir/main.cf", $main);
spew("$dir/master.cf", $master);

sub gateconf {
    my @cmd = (build() . '/sbin/gateconf', '-c', $dir, @_);
    open my $pipe, '-|', @cmd or die "gateconf: $!";
    local $/;
    my $out = <$pipe> // '';
    close $pipe;
    return ($? >> 8, $out);
}

# Arguments, standard output.
my @shown = (
    [['-n'], <<"END"],
config_directory = $dir
myhostname = a.test
mynetworks = 127.0.0.0/8, 10.0.0.0/8 192.0.2.0/24 198.51.100.0/24
own = x\$myhostname
relayhost =
smtpd_banner = \$myhostname hi
soft_bounce = yes
END
    [['-nh'], "$dir\na.test\n127.0.0.0/8, 10.0.0.0/8 192.0.2.0/24 198.51.100.0/24\nx\$myhostname\n\n"
        . "\$myhostname hi\nyes\n"],
    [['-h', 'mydomain', 'myhostname'], "test\na.test\n"],
    [['nothing', 'myhostname'], "myhostname = a.test\n"],
    [['-x', 'smtpd_banner', 'own'], "smtpd_banner = a.test hi\nown = xa.test\n"],
    [['-d', 'smtpd_banner', 'smtpd_timeout', 'own'],
        "smtpd_banner = \$myhostname ESMTP \$mail_name\nsmtpd_timeout = \${stress?{10}:{300}}s\n"],
    [['-n', 'mydomain'], ''],
    [['-o', 'soft_bounce=no', 'soft_bounce'], "soft_bounce = no\n"],
    [['-M'], <<'END'],
smtp       inet  n       -       y       -       5       smtpd -o smtpd_banner=x -o {myhostname=b c}
pickup     unix  n       -       y       60      1       pickup
slow       unix  -       -       n       -       -       smtp
END
    [['-Mf', 'smtp/inet'], <<'END'],
smtp       inet  n       -       y       -       5       smtpd
    -o smtpd_banner=x
    -o {myhostname=b c}
END
    [['-P'], "smtp/inet/myhostname = b c\nsmtp/inet/smtpd_banner = x\n"],
    [['-P', 'smtp/inet/smtpd_banner'], "smtp/inet/smtpd_banner = x\n"],
);
{
    open my $stderr, '>&', \*STDERR;
    open STDERR, '>', '/dev/null';
    for my $case (@shown) {
        my ($args, $want) = @$case;
        my ($status, $out) = gateconf(@$args);
        is($out, $want, "gateconf @$args");
        is($status, 0, 'exit status');
    }
    open STDERR, '>&', $stderr;
}
my ($status, $all) = gateconf('-d');
ok(!(grep { !/^\w+ =/ } split /\n/, $all), '-d: each line a parameter');
is(join("\n", sort split /\n/, $all), join("\n", split /\n/, $all), '-d: sorted') or diag $all;
unlike($all, qr/^transport_destination/m, '-d: rows that stand for each transport are not shown');

# For machines.
is((gateconf('--json', 'soft_bounce'))[1], qq({"name": "soft_bounce", "value": "yes"}\n), '--json');
like((gateconf('-j', '-M', '25/inet'))[1] || (gateconf('-j', '-M'))[1],
    qr/\A\{"service": "[^"]+", "type": "\w+", "private": "[^"]", .*"command": "[^"]+", "arguments": "[^\n]*"\}$/m, '-M');
like((gateconf('-j', '-P'))[1], qr/\A\{"service": "[^"]+", "type": "\w+", "name": "\w+", "value": "[^\n]*"\}$/m, '-P');

# Changes.
chmod 0640, "$dir/main.cf";
is((gateconf('-e', 'mynetworks = 1.2.3.4', 'newone=5'))[0], 0, '-e');
my $edited = $main =~ s/^mynetworks.*\n.*\n/mynetworks = 1.2.3.4\n/mr =~ s/^ +198.*\n//mr . "newone = 5\n";
is(slurp("$dir/main.cf"), $edited, 'every other line stays');
is((stat "$dir/main.cf")[2] & 07777, 0640, 'so does the mode');
is((gateconf('-X', 'newone'))[0], 0, '-X');
is(slurp("$dir/main.cf"), $edited =~ s/^newone.*\n//mr, 'the line is gone');
is((gateconf('-#', 'own'))[0], 0, '-#');
like(slurp("$dir/main.cf"), qr/^#own = x\$myhostname$/m, 'a comment now');
is((gateconf('relayhost = [x.test]:25'))[0], 0, 'name=value alone');
like(slurp("$dir/main.cf"), qr/^relayhost = \[x\.test\]:25$/m, 'is a change too');
my $before = slurp("$dir/main.cf");
{
    open my $stderr, '>&', \*STDERR;
    open STDERR, '>', '/dev/null';
    for my $bad ([], ['bad'], ['a b = c'], ["x = a\n  b"]) {
        is((gateconf('-e', @$bad))[0], 1, "-e @{[map { s/\n/ /r } @$bad]}: refused");
    }
    is((gateconf('-Z'))[0], 1, 'unknown option');
    open STDERR, '>&', $stderr;
}
is(slurp("$dir/main.cf"), $before, 'nothing has changed');
done_testing;
